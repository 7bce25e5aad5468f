//! What a reload did, or would do.

use serde_json::json;

use crate::admin::Told;
use crate::server::control::Reloaded;
use crate::server::plan::Crews;

pub(super) fn told(reloaded: &Reloaded, crews: &Crews, dry_run: bool) -> Told {
    let plan = &reloaded.plan;
    let mut text = reloaded.findings_text.clone();
    text.push_str(&plan.text(crews));
    if plan.is_empty() {
        text.push_str(match dry_run {
            true => "nothing would change\n",
            false => "nothing changed\n",
        });
    }
    Told {
        json: json!({
            "reloaded": !dry_run,
            "plan": plan.json(crews),
            "findings": reloaded.findings,
        }),
        text,
    }
}
