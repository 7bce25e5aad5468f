//! Every finding with its code and severity, on real files: made by rcgen, and by openssl where rcgen makes nothing so bad.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose};
use time::{Duration, OffsetDateTime};

use super::{NAMED, assert_found, config, fetched_from, findings, portunus};
use crate::support::{Authority, Tool, folder, secret};

/// Runs openssl in a folder.
fn openssl(folder: &Path, arguments: &str) {
    let mut tool = Tool::new("openssl");
    for argument in arguments.split_whitespace() {
        tool = tool.arg(argument.replace("{}", &folder.display().to_string()));
    }
    tool.stdout();
}

/// A key made by openssl with these arguments and a certificate of it by a CA of openssl's, signed with these.
fn by_openssl(key: &'static str, signed: &'static str) -> impl FnOnce(&Path, &Authority) {
    move |folder, _| {
        let certs = folder.join("certs");
        fs::create_dir_all(&certs).expect("certs/");
        fs::write(
            folder.join("leaf.ext"),
            "subjectAltName=DNS:a.test\nextendedKeyUsage=serverAuth\n",
        )
        .expect("extensions");
        openssl(
            folder,
            "req -x509 -newkey rsa:2048 -nodes -keyout {}/ca.key -out {}/ca.crt -subj /CN=old -days 30",
        );
        openssl(folder, &format!("genpkey {key} -out {{}}/leaf.key"));
        openssl(
            folder,
            "req -new -key {}/leaf.key -out {}/leaf.csr -subj /CN=a.test",
        );
        openssl(
            folder,
            &format!(
                "x509 -req -in {{}}/leaf.csr -CA {{}}/ca.crt -CAkey {{}}/ca.key -CAcreateserial \
                 -extfile {{}}/leaf.ext -days 90 -out {{}}/certs/a.test.pem {signed}"
            ),
        );
        let key = fs::read_to_string(folder.join("leaf.key")).expect("a key");
        secret(&certs.join("a.test.key"), &key);
    }
}

#[test]
fn weak_keys_and_signatures() {
    let rsa_1024 = by_openssl("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "-sha256");
    let report = assert_found("a.test", "", rsa_1024, &["error certificate-weak-key"]);
    let message = report["findings"][0]["message"].as_str().expect("words");
    assert!(message.contains("RSA 1024"), "{message}");
    let odd = by_openssl(
        "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
        "-sha256",
    );
    let report = assert_found("a.test", "", odd, &["error certificate-weak-key"]);
    let message = report["findings"][0]["message"].as_str().expect("words");
    assert!(message.contains("secp256k1"), "{message}");
    let odd = by_openssl("-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "-sha256");
    assert_found("a.test", "", odd, &["warning certificate-weak-key"]);
    let p256 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    assert_found("a.test", "", by_openssl(p256, "-sha256"), &[]);
    let weak = &["warning certificate-weak-signature"];
    assert_found("a.test", "", by_openssl(p256, "-sha1"), weak);
    assert_found("a.test", "", by_openssl(p256, "-md5"), weak);
}

/// A leaf of the CA, changed.
fn changed(change: impl FnOnce(&mut CertificateParams)) -> impl FnOnce(&Path, &Authority) {
    |folder, ca| {
        ca.issue_with(&["a.test"], change)
            .write(&folder.join("certs"), "a.test");
    }
}

/// Who answers for a leaf by OCSP: SEQUENCE { SEQUENCE { id-ad-ocsp, [6] "http://ca.test/" } }
fn responder() -> CustomExtension {
    let ocsp = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01];
    let description = [&ocsp[..], &[0x86, 15], b"http://ca.test/"].concat();
    let inner = [&[0x30, 27][..], &description].concat();
    let content = [&[0x30, 29][..], &inner].concat();
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}

/// RFC 7633: SEQUENCE { INTEGER 5 }
fn must_staple() -> CustomExtension {
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5])
}

#[test]
fn what_is_not_meant_for_a_server_of_ours() {
    let client = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    assert_found(
        "a.test",
        "",
        changed(client),
        &["warning certificate-purpose"],
    );
    let any = |params: &mut CertificateParams| params.extended_key_usages = Vec::new();
    assert_found("a.test", "", changed(any), &[]);

    let found = &["warning certificate-must-staple"];
    let without_responder =
        |params: &mut CertificateParams| params.custom_extensions.push(must_staple());
    assert_found("a.test", "", changed(without_responder), found);
    let with_responder = |params: &mut CertificateParams| {
        params
            .custom_extensions
            .extend([must_staple(), responder()]);
    };
    assert_found(
        "a.test",
        "ocsp_stapling = false",
        changed(with_responder),
        found,
    );
    assert_found(
        "a.test",
        "ocsp_stapling = true",
        changed(with_responder),
        &[],
    );
}

#[test]
fn the_end_is_told_30_days_7_days_and_a_day_before() {
    let ends = |lifetime: i64, left: Duration| {
        changed(move |params| {
            params.not_after = OffsetDateTime::now_utc() + left;
            params.not_before = params.not_after - Duration::days(lifetime);
        })
    };
    let (days, hours) = (Duration::days, Duration::hours);
    let note = "note certificate-expiring";
    let warning = "warning certificate-expiring";
    for (lifetime, left, expected) in [
        (398, days(31), None),
        (398, days(29), Some(note)),
        (398, days(6), Some(warning)),
        (398, hours(20), Some(warning)),
        (90, days(31), None),
        (90, days(29), Some(note)),
        // Of six days a third is two days.
        (6, days(3), None),
        (6, hours(40), Some(note)),
        (6, hours(15), Some(warning)),
        (6, hours(5), Some(warning)),
    ] {
        let expected: Vec<_> = expected.into_iter().collect();
        assert_found("a.test", "", ends(lifetime, left), &expected);
    }
    let report = assert_found("a.test", "", ends(90, hours(20)), &[warning]);
    let finding = &report["findings"][0];
    let words = |key: &str| finding[key].as_str().expect("words").to_owned();
    assert!(
        words("message").contains("expires in 19 hours"),
        "{finding}"
    );
    assert!(words("help").contains("at once"), "{finding}");
}

#[test]
fn the_line_of_what_is_broken() {
    let message = |text: String| {
        let broken = move |folder: &Path, ca: &Authority| {
            ca.issue(&["a.test"]).write(&folder.join("certs"), "a.test");
            fs::write(folder.join("certs/a.test.pem"), text).expect("a file");
        };
        let report = assert_found("a.test", "", broken, &["error certificate-broken"]);
        report["findings"][0]["message"]
            .as_str()
            .expect("words")
            .to_owned()
    };
    let good = Authority::new("test CA").issue(&["a.test"]).chain;
    let lines: Vec<&str> = good.lines().collect();
    let mut spoilt = lines.clone();
    spoilt[3] = "not base64 at all!";
    assert!(message(spoilt.join("\n")).contains("line 4: ' '"));
    let cut = lines[..lines.len() - 1].join("\n");
    assert!(message(cut).contains("line 1: BEGIN CERTIFICATE has no END"));
    let second = format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let line = lines.len() + 1;
    assert!(message(second).contains(&format!(
        "the certificate that begins on line {line} cannot be read"
    )));
    // No line is repeated, whatever it holds.
    let odd = message("x\r-----BEGIN CE--SECRET".to_owned());
    assert!(
        odd.contains("is broken") && !odd.contains("SECRET"),
        "{odd}"
    );
    let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
    assert!(message(request.to_owned()).contains("no certificate but CERTIFICATE REQUEST"));
}

#[test]
fn a_key_is_for_the_server_alone() {
    let with_mode = |mode: u32| {
        move |folder: &Path, ca: &Authority| {
            ca.issue(&["a.test"]).write(&folder.join("certs"), "a.test");
            let key = folder.join("certs/a.test.key");
            fs::set_permissions(key, fs::Permissions::from_mode(mode)).expect("a mode");
        }
    };
    let exposed = &["warning certificate-key-exposed"];
    assert_found("a.test", "", with_mode(0o604), exposed);
    // A group may share a key (Debian's ssl-cert).
    assert_found("a.test", "", with_mode(0o640), &[]);
    // Nobody comes so far.
    let closed = |folder: &Path, ca: &Authority| {
        with_mode(0o644)(folder, ca);
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(folder.join("certs"), private).expect("a mode");
    };
    assert_found("a.test", "", closed, &[]);
}

#[test]
fn what_only_root_may_read_is_told_before_the_server_is_somebody_else() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody")
        .expect("users")
        .expect("nobody");
    let found = |prepare: &dyn Fn(&Path)| {
        let folder = folder();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        let ca = Authority::new("test CA");
        ca.write(&folder.path().join("ca.crt"));
        let certs = folder.path().join("certs");
        ca.issue(&["a.test"]).write(&certs, "a.test");
        prepare(&certs);
        let text = format!(
            "[server]\nuser = \"nobody\"\n[tls]\ntrust = \"../ca.crt\"\n{}",
            config("a.test", "")
        );
        findings(&folder, &text).1
    };
    let later = "warning certificate-unreadable-later";
    assert_eq!(found(&|_| ()), [later]);
    let group = |certs: &Path, mode| {
        let key = certs.join("a.test.key");
        chown(&key, Some(0), Some(nobody.gid.as_raw())).expect("root may");
        fs::set_permissions(key, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    assert!(found(&|certs| group(certs, 0o640)).is_empty());
    // The file is not enough: its folder must be entered. Both chain and key lie there.
    let closed = |certs: &Path| {
        group(certs, 0o640);
        fs::set_permissions(certs, fs::Permissions::from_mode(0o700)).expect("a mode");
    };
    assert_eq!(found(&closed), [later, later]);
}

#[test]
fn of_several_certificates_for_a_name_it_is_said_which_is_shown() {
    let both = |folder: &Path, ca: &Authority| {
        let certs = folder.join("certs");
        ca.issue(&["www.a.test"]).write(&certs, "www.a.test");
        ca.issue(&["*.a.test"]).write(&certs, "_.a.test");
    };
    let report = assert_found("www.a.test", "", both, &["note certificate-rivals"]);
    let message = report["findings"][0]["message"].as_str().expect("words");
    let (shown, other) = message.split_once("is shown").expect("which is shown");
    assert!(shown.contains("/www.a.test.pem"), "{message}");
    assert!(other.contains("/_.a.test.pem"), "{message}");
    // One certificate under two names is no rival of itself.
    let same = |folder: &Path, ca: &Authority| {
        let issued = ca.issue(&["www.a.test", "*.a.test"]);
        issued.write(&folder.join("certs"), "www.a.test");
        issued.write(&folder.join("certs"), "_.a.test");
    };
    assert_found("www.a.test", "", same, &[]);
}

#[test]
fn roots_that_cannot_be_used_are_told_once() {
    let folder = folder();
    let ca = Authority::new("test CA");
    ca.issue(&["a.test"])
        .write(&folder.path().join("certs"), "a.test");
    let of = |trust: &str| {
        let text = format!("[tls]\ntrust = \"{trust}\"\n{}", config("a.test", ""));
        findings(&folder, &text).1
    };
    assert_eq!(of("../nowhere.crt"), ["warning trust-unusable"]);
    fs::write(folder.path().join("empty.crt"), "").expect("a file");
    assert_eq!(of("../empty.crt"), ["warning trust-unusable"]);
    let (code, _, stderr) = portunus(
        folder.path(),
        &format!("[tls]\ntrust = \"sytem\"\n{}", config("a.test", "")),
        &["check"],
    );
    assert_eq!(code, Some(64));
    assert!(stderr.contains("unknown-value"), "{stderr}");
}

#[test]
fn check_prints_the_inventory() {
    let folder = folder();
    let ca = Authority::new("test CA");
    ca.write(&folder.path().join("ca.crt"));
    let lives = |days: i64| {
        move |params: &mut CertificateParams| {
            params.not_before = OffsetDateTime::now_utc() - Duration::days(400 - days);
            params.not_after =
                OffsetDateTime::now_utc() + Duration::days(days) + Duration::hours(1);
        }
    };
    let certs = folder.path().join("certs");
    ca.issue_with(&["www.a.test", "a.test"], lives(200))
        .write(&certs, "www.a.test");
    ca.issue_with(&["*.a.test"], lives(-3))
        .write(&certs, "_.a.test");
    ca.issue_with(&["own.test"], lives(100))
        .write(&folder.path().join("own"), "own");
    fs::write(certs.join("broken.test.pem"), "nothing").expect("a file");
    let binding = |hostname: &str, keys: &str| {
        format!(
            "[[binding]]\nip = \"127.0.0.1\"\nport = 8443\nhostname = \"{hostname}\"\nsite = \"main\"\n{keys}\n"
        )
    };
    let text = format!(
        "[tls]\ntrust = \"../ca.crt\"\n{}{}{}{}\n[[site]]\nname = \"main\"\n[[site.route]]\npath = \"/\"\npool = \"main\"\n\
         [[pool]]\nname = \"main\"\nhandler = {{ type = \"respond\" }}\n",
        binding("www.a.test", ""),
        binding("*.a.test", ""),
        binding("own.test", "certificate = \"own\""),
        NAMED.split_once('\n').expect("a table").1,
    );
    let (code, stdout, stderr) = portunus(folder.path(), &text, &["check"]);
    assert_eq!(code, Some(0), "{stderr}");
    let place = folder.path().join("config/..").display().to_string();
    insta::assert_snapshot!(
        "inventory",
        stdout
            .replace(&place, "…")
            .replace(&folder.path().display().to_string(), "…")
    );

    let (_, _, report) = findings(&folder, &text);
    let own = &report["certificates"][0];
    assert_eq!(
        (&own["name"], &own["days_left"]),
        (&"own".into(), &100.into())
    );
    assert_eq!(own["used_by"][0], "https://127.0.0.1:8443 own.test");
    let shown = Tool::new("openssl")
        .args([
            "x509",
            "-noout",
            "-fingerprint",
            "-sha256",
            "-serial",
            "-in",
        ])
        .arg(folder.path().join("own/own.pem"))
        .stdout()
        .replace(':', "")
        .to_lowercase();
    for key in ["fingerprint_sha256", "serial"] {
        let value = own[key].as_str().expect("hexadecimal");
        assert!(
            shown.contains(value.trim_start_matches('0')),
            "{shown} has not {value}"
        );
    }
}

/// A text in which every date is the same one.
fn without_dates(text: &str) -> String {
    let is_date = |word: &str| {
        let word = word.as_bytes();
        let form = b"0000-00-00";
        word.len() == form.len()
            && (word.iter().zip(form)).all(|(c, f)| c == f || *f == b'0' && c.is_ascii_digit())
    };
    let line = |line: &str| {
        let words = line.split(' ');
        let words: Vec<_> = words
            .map(|word| if is_date(word) { "DATE" } else { word })
            .collect();
        words.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// As a person reads them: each with what is wrong, where, and what mends it.
#[test]
fn the_findings_of_a_neglected_server() {
    let folder = folder();
    let ca = Authority::new("test CA");
    ca.write(&folder.path().join("ca.crt"));
    let certs = folder.path().join("certs");
    let until = |left: Duration| {
        move |params: &mut CertificateParams| {
            params.not_after = OffsetDateTime::now_utc() + left + Duration::minutes(10);
            params.not_before = OffsetDateTime::now_utc() - Duration::days(300);
        }
    };
    ca.issue_with(&["expired.test"], until(Duration::days(-12)))
        .write(&certs, "expired.test");
    ca.issue_with(&["late.test"], until(Duration::hours(9)))
        .write(&certs, "late.test");
    ca.issue_with(&["soon.test"], until(Duration::days(20)))
        .write(&certs, "soon.test");
    let mut mixed = ca.issue(&["mixed.test"]);
    mixed.key = ca.issue(&["mixed.test"]).key;
    mixed.write(&certs, "mixed.test");
    let middle = ca.intermediate("an intermediate");
    let change = |params: &mut CertificateParams| params.custom_extensions.push(fetched_from());
    middle
        .issue_with(&["short.test"], change)
        .write(&certs, "short.test");
    let client = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    ca.issue_with(&["client.test"], client)
        .write(&certs, "client.test");
    ca.issue(&["another.test"]).write(&certs, "name.test");
    ca.issue(&["open.test"]).write(&certs, "open.test");
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(certs.join("open.test.key"), open).expect("a mode");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    fs::write(
        certs.join("cut.test.pem"),
        "-----BEGIN CERTIFICATE-----\nMIIB\n",
    )
    .expect("a file");
    let hosts = [
        "expired", "late", "soon", "mixed", "short", "client", "name", "open", "cut", "none",
    ];
    let bindings: String = hosts
        .map(|host| format!("[[binding]]\nhostname = \"{host}.test\"\nsite = \"main\"\n"))
        .concat();
    let text = format!(
        "[tls]\ntrust = \"../ca.crt\"\n{bindings}[[site]]\nname = \"main\"\n[[site.route]]\npath = \"/\"\npool = \"main\"\n\
         [[pool]]\nname = \"main\"\nhandler = {{ type = \"respond\" }}\n"
    );
    let (code, _, stderr) = portunus(folder.path(), &text, &["check"]);
    assert_eq!(code, Some(64));
    let place = folder.path().join("config/..").display().to_string();
    let said = stderr
        .replace(&place, "…")
        .replace(&folder.path().display().to_string(), "…");
    insta::assert_snapshot!("findings", without_dates(&said));
}
