//! What a reload did, or would do.

use serde_json::json;

use crate::admin::{Form, Told};
use crate::server::control::Reloaded;
use crate::server::plan::Crews;

pub(super) fn told(reloaded: &Reloaded, crews: &Crews, dry_run: bool, form: Form) -> Told {
    let json = || {
        json!({
            "reloaded": !dry_run,
            "plan": reloaded.plan.json(crews),
            "findings": reloaded.findings,
        })
    };
    Told::of(form, json, || text(reloaded, crews, dry_run))
}

fn text(reloaded: &Reloaded, crews: &Crews, dry_run: bool) -> String {
    let plan = &reloaded.plan;
    let mut text = reloaded.findings_text.clone();
    text.push_str(&plan.text(crews));
    if plan.is_empty() {
        text.push_str(match dry_run {
            true => "nothing would change\n",
            false => "nothing changed\n",
        });
    }
    text
}
