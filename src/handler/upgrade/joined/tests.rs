use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

const LINGER: Option<Duration> = Some(Duration::from_secs(30));

#[tokio::test]
async fn what_one_side_says_the_other_hears_to_its_end() {
    let (mut client, mut ours) = duplex(64);
    let (mut upstream, mut theirs) = duplex(64);
    let said: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    let echo = async {
        let (mut reading, mut writing) = tokio::io::split(&mut upstream);
        tokio::io::copy(&mut reading, &mut writing)
            .await
            .expect("an echo");
        writing.shutdown().await.expect("an end");
    };
    let talk = async {
        let (mut reading, mut writing) = tokio::io::split(&mut client);
        let mut heard = Vec::new();
        let say = async {
            writing.write_all(&said).await.expect("a write");
            writing.shutdown().await.expect("an end");
        };
        let (read, ()) = tokio::join!(reading.read_to_end(&mut heard), say);
        read.expect("an end");
        heard
    };
    let (joined, heard, ()) = tokio::join!(join(&mut ours, &mut theirs, LINGER), talk, echo);
    joined.expect("both ends");
    assert_eq!(heard, said);
}

#[tokio::test]
async fn no_more_is_read_than_the_other_side_takes() {
    let (mut client, mut ours) = duplex(1024);
    let (_upstream, mut theirs) = duplex(1024);
    let flood = async {
        let mut taken = 0;
        while let Ok(written) =
            tokio::time::timeout(Duration::from_secs(1), client.write(&[0; 1024])).await
        {
            taken += written.expect("a write");
        }
        taken
    };
    tokio::select! {
        _ = join(&mut ours, &mut theirs, LINGER) => unreachable!("nobody has closed"),
        taken = flood => assert!(taken <= 2 * 1024 + PIECE_BYTES, "{taken}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_side_is_waited_for_as_long_as_it_says_something() {
    let (mut client, mut ours) = duplex(64);
    let (upstream, mut theirs) = duplex(64);
    drop(upstream);
    let began = Instant::now();
    let talk = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            // Nobody takes it: that one is gone.
            let _ = client.write_all(b"x").await;
        }
        std::future::pending::<()>().await
    };
    tokio::select! {
        joined = join(&mut ours, &mut theirs, LINGER) => assert!(joined.is_err()),
        () = talk => unreachable!("it does not end"),
    }
    assert!(began.elapsed() <= Duration::from_secs(51));
}

#[tokio::test(start_paused = true)]
async fn a_side_that_closed_ends_a_silent_tunnel_only_where_that_is_asked_for() {
    for (linger, ends) in [(LINGER, true), (None, false)] {
        let (client, mut ours) = duplex(64);
        let (mut upstream, mut theirs) = duplex(64);
        drop(client);
        let hour = Duration::from_secs(3600);
        let joined = tokio::time::timeout(hour, join(&mut ours, &mut theirs, linger)).await;
        assert_eq!(joined.is_ok(), ends);
        let mut rest = Vec::new();
        drop((ours, theirs));
        upstream.read_to_end(&mut rest).await.expect("an end");
    }
}
