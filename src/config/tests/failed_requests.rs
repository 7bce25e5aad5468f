//! Which requests are written down.

use super::super::*;
use super::{config, read, rendered, whole};
use crate::model::Reason;

fn settings(text: &str) -> FailedRequests {
    config(&whole(text)).failed_requests
}

#[test]
fn without_a_rule_nothing_is_recorded_and_the_table_says_so() {
    assert!(settings("").rules.is_empty());
    let loaded = read(&whole("[failed_requests]\nmax_files = 7"));
    let codes: Vec<_> = loaded.diagnostics.iter().map(|found| found.code).collect();
    assert_eq!(codes, ["no-failed-request-rule"]);
    assert_eq!(loaded.config.unwrap().failed_requests.max_files, 7);
}

#[test]
fn a_rule_is_read_with_all_that_it_names() {
    let read = settings(
        "[failed_requests]\nfolder = \"traces\"\nmax_file_bytes = \"1MiB\"\nredact = [\"X-Session\", \"ticket\"]\n\
         [[failed_requests.rule]]\nsite = \"www\"\npath = \"/a b/\"\nstatus = [404, \"500-503\", \"1xx\", \"418\"]\n\
         reason = [\"QueueFull\", \"N/I\"]\nlonger_than = \"2s\"\n[[failed_requests.rule]]\nstatus = [502]",
    );
    assert_eq!(read.folder, PathBuf::from("/etc/portunus/traces"));
    assert_eq!((read.max_files, read.max_file_bytes), (100, 1 << 20));
    assert_eq!(read.redact, ["x-session", "ticket"]);
    let rule = &read.rules[0];
    assert_eq!((rule.site, rule.path.as_deref()), (Some(0), Some("/a b")));
    assert_eq!(rule.status, [404..=404, 500..=503, 100..=199, 418..=418]);
    assert_eq!(rule.reason, [Reason::QueueFull, Reason::NotImplemented]);
    assert_eq!(rule.longer_than, Some(Duration::from_secs(2)));
    assert_eq!((read.rules.len(), read.rules[1].site), (2, None));
}

#[test]
fn every_reason_can_be_named_or_is_refused_with_what_to_do() {
    for reason in Reason::ALL {
        let text = format!("[[failed_requests.rule]]\nreason = [\"{reason}\"]");
        let loaded = read(&whole(&text));
        match loaded.diagnostics.first() {
            None => assert_eq!(
                loaded.config.unwrap().failed_requests.rules[0].reason,
                [*reason]
            ),
            Some(found) => assert!(
                found.code == "bad-reason" && found.help.is_some(),
                "{reason}"
            ),
        }
    }
}

#[test]
fn mistakes_in_rules() {
    let text = whole(
        "[failed_requests]\nmax_files = 0\nmax_file_bytes = \"1KiB\"\nredact = [\"a b\"]\n\
         [[failed_requests.rule]]\n\
         [[failed_requests.rule]]\nsite = \"wwww\"\npath = \"api\"\nstatus = [99, \"600\", \"5x\", \"599-500\", \"6xx\"]\n\
         [[failed_requests.rule]]\nreason = [\"QueueFul\", \"Tls_Timeout\", \"Timer_MinBytesPerSecond\", \"what\"]\nlonger_than = \"0s\"\n\
         [[failed_requests.rule]]\nstatus = []\nreason = \"QueueFull\"\n",
    );
    insta::assert_snapshot!(rendered([text.as_str()]));
}
