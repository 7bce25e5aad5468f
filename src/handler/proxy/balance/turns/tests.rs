use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Three {
    open: Vec<bool>,
    weights: Vec<u64>,
    loads: Vec<u64>,
}

impl Choices for Three {
    fn count(&self) -> usize {
        self.weights.len()
    }
    fn is_open(&self, index: usize) -> bool {
        self.open[index]
    }
    fn weight(&self, index: usize) -> u64 {
        self.weights[index]
    }
    fn load(&self, index: usize) -> u64 {
        self.loads[index]
    }
}

fn of(weights: &[u64]) -> Three {
    Three {
        open: vec![true; weights.len()],
        weights: weights.to_vec(),
        loads: vec![0; weights.len()],
    }
}

fn choices() -> impl Strategy<Value = Three> {
    (1_usize..10).prop_flat_map(|count| {
        (
            proptest::collection::vec(any::<bool>(), count),
            proptest::collection::vec(1_u64..1000, count),
            proptest::collection::vec(0_u64..500, count),
        )
            .prop_map(|(open, weights, loads)| Three {
                open,
                weights,
                loads,
            })
    })
}

#[test]
fn turns_are_smooth() {
    let choices = of(&[5, 1, 1]);
    let smooth = Smooth::new(0, 3);
    let turns: Vec<_> = (0..7).filter_map(|_| smooth.next(&choices)).collect();
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn threads_begin_with_another_one_each() {
    let choices = of(&[1, 1, 1]);
    let first = |thread| Smooth::new(thread, 3).next(&choices);
    assert_eq!([first(0), first(1), first(2)], [Some(0), Some(1), Some(2)]);
}

#[test]
fn the_one_with_the_least_load_for_its_weight_is_chosen() {
    let mut choices = of(&[1, 2, 1]);
    choices.loads = vec![4, 8, 5];
    assert_eq!(least(&choices, 0), Some(1));
    choices.loads = vec![4, 9, 4];
    // Equal ones take turns.
    assert_eq!(least(&choices, 0), Some(0));
    assert_eq!(least(&choices, 2), Some(2));
}

#[test]
fn of_two_by_chance_a_loaded_one_is_rarely_chosen() {
    let mut choices = of(&[1, 1, 1, 1]);
    choices.loads = vec![0, 0, 0, 100];
    let chance = Chance::new(7);
    assert!((0..1000).all(|_| two(&choices, || chance.next()) != Some(3)));
}

proptest! {
    #[test]
    fn turns_follow_weights_exactly(weights in proptest::collection::vec(1_u64..20, 1..8), rounds in 1_u64..5) {
        let choices = of(&weights);
        let smooth = Smooth::new(0, weights.len());
        let total: u64 = weights.iter().sum();
        let mut counts = vec![0_u64; weights.len()];
        for _ in 0..total * rounds {
            counts[smooth.next(&choices).expect("all are open")] += 1;
        }
        for (count, weight) in counts.iter().zip(&weights) {
            prop_assert_eq!(*count, weight * rounds);
        }
    }

    #[test]
    fn chance_follows_weights_within_bounds(weights in proptest::collection::vec(1_u64..10, 2..6), seed in any::<u64>()) {
        let choices = of(&weights);
        let chance = Chance::new(seed);
        let total: u64 = weights.iter().sum();
        let mut counts = vec![0_u64; weights.len()];
        for _ in 0..20_000 {
            counts[drawn(&choices, None, chance.next()).expect("all are open")] += 1;
        }
        for (count, weight) in counts.iter().zip(&weights) {
            let share = 20_000 * weight / total;
            prop_assert!(count.abs_diff(share) < 100 + share / 5, "{:?} for {:?}", counts, weights);
        }
    }

    #[test]
    fn one_that_is_open_is_chosen_wherever_there_is_one(choices in choices(), turn in any::<usize>(), seed in any::<u64>()) {
        let any_open = choices.open.iter().any(|open| *open);
        let chance = Chance::new(seed);
        let chosen = [
            Smooth::new(turn, choices.count()).next(&choices),
            least(&choices, turn),
            two(&choices, || chance.next()),
        ];
        for chosen in chosen {
            prop_assert_eq!(chosen.is_some(), any_open);
            prop_assert!(chosen.is_none_or(|index| choices.open[index]));
        }
    }
}
