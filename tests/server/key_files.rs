//! Keys as they lie in the world's files: encrypted, in PKCS#12, of two kinds for one name; made by openssl.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Server, folder};

/// One https binding of `www.shop.test`, whose certificate comes from the folder, or from where `keys` says.
fn config(keys: &str, tail: &str) -> String {
    format!(
        "[[binding]]\nprotocol = \"https\"\nip = \"127.0.0.1\"\nport = 0\nhostname = \"www.shop.test\"\nsite = \"main\"\n{keys}\n\
         [[site]]\nname = \"main\"\n[[site.route]]\npath = \"/\"\npool = \"main\"\n\
         [[pool]]\nname = \"main\"\n[pool.handler]\ntype = \"respond\"\nbody = \"Hello, World!\"\n{tail}"
    )
}

fn openssl(folder: &Path, arguments: &str) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments.split_ascii_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("openssl, as .ci/setup installs it");
    assert!(
        output.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A folder `certs/` with `ca.crt` beside it, and in it `NAME.pem` and `NAME.key` of each name and kind of key.
fn made(certificates: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = folder();
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).expect("certs/");
    openssl(
        &certs,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout ../ca.key -out ../ca.crt -days 30 -subj /CN=ca",
    );
    for (name, kind) in certificates {
        let kind = match *kind {
            "rsa" => "rsa:2048",
            _ => "ec -pkeyopt ec_paramgen_curve:P-256",
        };
        openssl(
            &certs,
            &format!(
                "req -x509 -CA ../ca.crt -CAkey ../ca.key -newkey {kind} -noenc -keyout {name}.key -out {name}.pem -days 20 \
                 -subj /CN=www.shop.test -addext subjectAltName=DNS:www.shop.test -addext basicConstraints=critical,CA:FALSE"
            ),
        );
    }
    (folder, certs)
}

/// Whether a client is shown the certificate, and believes it. What it says of the certificate is returned.
fn shown(server: &Server, arguments: &str) -> String {
    let port = server.https;
    let said = openssl(
        server.path(),
        &format!(
            "s_client -connect 127.0.0.1:{port} -servername www.shop.test -verify_hostname www.shop.test -CAfile ca.crt \
             -verify_return_error {arguments}"
        ),
    );
    String::from_utf8_lossy(&said).into_owned()
}

/// The kind of key that the handshake was signed with.
fn kind(server: &Server, arguments: &str) -> &'static str {
    let said = shown(server, arguments);
    let line = said
        .lines()
        .find(|line| line.starts_with("Peer signature type:"));
    match line.map(str::to_ascii_lowercase) {
        Some(line) if line.contains("ecdsa") => "ecdsa",
        Some(line) if line.contains("rsa") => "rsa",
        _ => panic!("{said}"),
    }
}

fn assert_chosen_by_what_the_client_can_check(server: &Server) {
    assert_eq!(kind(server, ""), "ecdsa", "whoever can check both");
    for (kind_of_key, offers) in [
        ("rsa", "-sigalgs rsa_pss_rsae_sha256"),
        ("rsa", "-tls1_2 -sigalgs RSA+SHA256"),
        ("ecdsa", "-sigalgs ECDSA+SHA256"),
        ("rsa", "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256"),
        ("ecdsa", "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256"),
        (
            "ecdsa",
            "-tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
    ] {
        assert_eq!(kind(server, offers), kind_of_key, "{offers}");
    }
}

#[test]
fn of_two_kinds_of_key_in_the_folder_a_client_is_shown_what_it_can_check() {
    for (first, second) in [
        ("www.shop.test", "www.shop.test.rsa"),
        ("www.shop.test.ecdsa", "www.shop.test"),
    ] {
        let (folder, _) = made(&[(first, "ecdsa"), (second, "rsa")]);
        let server = Server::start_in(folder, &config("", ""), |_| {});
        assert_chosen_by_what_the_client_can_check(&server);
    }
}

#[test]
fn a_named_certificate_has_an_alternative() {
    let (folder, _) = made(&[("own", "rsa"), ("other", "ecdsa")]);
    let named = "[[certificate]]\nname = \"own\"\nchain = \"../certs/own.pem\"\nkey = \"../certs/own.key\"\n\
                 alternative = { chain = \"../certs/other.pem\", key = \"../certs/other.key\" }\n";
    let server = Server::start_in(folder, &config("certificate = \"own\"", named), |_| {});
    assert_chosen_by_what_the_client_can_check(&server);
}

#[test]
fn a_kind_of_key_that_the_binding_has_no_suite_for_is_not_chosen() {
    let (folder, _) = made(&[("www.shop.test", "ecdsa"), ("www.shop.test.rsa", "rsa")]);
    let keys =
        "cipher_suites = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]\nprotocols = [\"http/1.1\"]";
    let server = Server::start_in(folder, &config(keys, ""), |_| {});
    assert_eq!(kind(&server, ""), "rsa");
}

#[test]
fn one_kind_of_two_that_went_bad_takes_nothing_from_the_other() {
    let (folder, certs) = made(&[("www.shop.test", "ecdsa"), ("www.shop.test.rsa", "rsa")]);
    let mut server = Server::start_in(folder, &config("", ""), |_| {});
    fs::write(certs.join("www.shop.test.rsa.key"), "broken").expect("a file");
    server.wait_line("certificate refused").expect("a line");
    assert_chosen_by_what_the_client_can_check(&server);
}

/// The errors that `check --json` finds.
fn findings(folder: &Path, config: &str) -> Vec<Value> {
    found(folder, config, "error")
}

/// What `check --json` finds of this severity.
fn found(folder: &Path, config: &str, severity: &str) -> Vec<Value> {
    let file = folder.join("config/bindings.toml");
    fs::write(&file, config).expect("the bindings file");
    let output = Command::new(env!("CARGO_BIN_EXE_portunus"))
        .arg("-c")
        .arg(file)
        .args(["check", "--json"])
        .output()
        .expect("the portunus binary");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let found = report["findings"].as_array().expect("findings");
    found
        .iter()
        .filter(|finding| finding["severity"] == severity)
        .cloned()
        .collect()
}

/// Asserts that there is exactly one error of this code, and that its words say this.
#[track_caller]
fn assert_error(folder: &Path, config: &str, code: &str, says: &[&str]) {
    let found = findings(folder, config);
    assert!(found.len() == 1 && found[0]["code"] == code, "{found:#?}");
    let text = found[0].to_string();
    for part in says {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

const NAMED: &str = "[[certificate]]\nname = \"own\"\nchain = \"../certs/own.pem\"\nkey = \"../certs/sealed.key\"\n\
                     password_file = \"../secret\"\n";

#[test]
fn a_key_that_is_encrypted_is_opened_with_its_password() {
    for how in [
        "-v2 aes-256-cbc",
        "-v2 aes-128-cbc -v2prf hmacWithSHA512 -iter 100000",
        "-scrypt",
    ] {
        let (folder, certs) = made(&[("own", "ecdsa")]);
        fs::write(folder.path().join("secret"), "correct horse\n").expect("the password");
        openssl(
            &certs,
            &format!("pkcs8 -topk8 {how} -in own.key -out sealed.key -passout file:../secret"),
        );
        fs::remove_file(certs.join("own.key")).expect("the key in the clear");
        let mut server = Server::start_in(folder, &config("certificate = \"own\"", NAMED), |_| {});
        shown(&server, "");
        assert!(!server.log().contains("correct horse"));
    }
}

#[test]
fn a_password_of_the_folder_is_of_one_file_of_a_name_or_of_all() {
    for password in [
        "www.shop.test.rsa.password",
        "www.shop.test.password",
        "_password",
    ] {
        let (folder, certs) = made(&[("www.shop.test.rsa", "rsa")]);
        fs::write(certs.join(password), "correct horse").expect("the password");
        openssl(
            &certs,
            &format!("pkcs8 -topk8 -in www.shop.test.rsa.key -out sealed -passout file:{password}"),
        );
        fs::rename(certs.join("sealed"), certs.join("www.shop.test.rsa.key")).expect("the key");
        let server = Server::start_in(folder, &config("", ""), |_| {});
        assert_eq!(kind(&server, ""), "rsa");
    }
}

#[test]
fn what_does_not_open_an_encrypted_key_is_said() {
    let (folder, certs) = made(&[("own", "rsa")]);
    let secret = folder.path().join("secret");
    let text = config("certificate = \"own\"", NAMED);
    let seal = |how: &str| openssl(&certs, &format!("{how} -in own.key -out sealed.key"));

    seal("pkcs8 -topk8 -passout pass:correct");
    assert_error(
        folder.path(),
        &text,
        "certificate-password",
        &["sealed.key is encrypted", "secret"],
    );
    fs::write(&secret, "wrong").expect("the password");
    assert_error(
        folder.path(),
        &text,
        "certificate-password",
        &["does not open", "secret"],
    );
    fs::write(&secret, "correct").expect("the password");
    assert_eq!(findings(folder.path(), &text), Vec::<Value>::new());

    // Each of these says how to convert it.
    let convert = &["sealed.key", "openssl pkcs8 -topk8"];
    for how in [
        "rsa -aes256 -traditional -passout pass:correct",
        "pkcs8 -topk8 -v1 PBE-SHA1-3DES -passout pass:correct",
        "pkcs8 -topk8 -v2 des3 -passout pass:correct",
        "pkcs8 -topk8 -v2 aes-256-cbc -iter 2000000 -passout pass:correct",
        "pkcs8 -topk8 -scrypt -scrypt_p 8 -passout pass:correct",
    ] {
        seal(how);
        assert_error(folder.path(), &text, "certificate-encryption", convert);
    }
}

#[test]
fn pkcs12_is_opened_as_openssl_and_windows_write_it() {
    let ways = [
        ("www.shop.test.pfx", ""),
        // Windows: SHA-1 and triple DES; before that RC2 for the certificates.
        (
            "_.shop.test.p12",
            "-keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1",
        ),
        ("www.shop.test.rsa.PFX", "-legacy"),
        ("www.shop.test.p12", "-keypbe AES-256-CBC -certpbe NONE"),
    ];
    for (file, how) in ways {
        let (folder, certs) = made(&[("own", "rsa")]);
        fs::write(certs.join("_password"), "correct horse").expect("the password");
        openssl(
            &certs,
            &format!(
                "pkcs12 -export {how} -in own.pem -inkey own.key -certfile ../ca.crt -out {file} -passout file:_password"
            ),
        );
        // As an editor leaves it.
        fs::write(certs.join("_password"), "correct horse\r\n").expect("the password");
        for clear in ["own.pem", "own.key"] {
            fs::remove_file(certs.join(clear)).expect("what is in the clear");
        }
        let mut server = Server::start_in(folder, &config("", ""), |_| {});
        let said = shown(&server, "-showcerts");
        let sent = said.matches("BEGIN CERTIFICATE").count();
        assert_eq!(sent, 1, "roots are left out");
        assert!(!server.log().contains("correct horse"));
    }
}

#[test]
fn pkcs12_without_a_password_and_by_name() {
    let (folder, certs) = made(&[("own", "ecdsa")]);
    openssl(
        &certs,
        "pkcs12 -export -in own.pem -inkey own.key -out own.pfx -passout pass:",
    );
    let named = "[[certificate]]\nname = \"own\"\nchain = \"../certs/own.pfx\"\n";
    let server = Server::start_in(folder, &config("certificate = \"own\"", named), |_| {});
    shown(&server, "");
}

#[test]
fn what_does_not_open_pkcs12_is_said() {
    let (folder, certs) = made(&[("own", "ecdsa")]);
    let file = certs.join("www.shop.test.pfx");
    let text = config("", "");
    let seal = |how: &str| {
        openssl(
            &certs,
            &format!(
                "pkcs12 -export -in own.pem -inkey own.key -out www.shop.test.pfx -passout pass:correct {how}"
            ),
        )
    };
    seal("");
    assert_error(
        folder.path(),
        &text,
        "certificate-password",
        &["is encrypted", "www.shop.test.password"],
    );
    fs::write(certs.join("www.shop.test.password"), "wrong").expect("the password");
    assert_error(
        folder.path(),
        &text,
        "certificate-password",
        &["does not open"],
    );
    seal("-nomac");
    assert_error(
        folder.path(),
        &text,
        "certificate-password",
        &["does not open"],
    );
    fs::write(certs.join("www.shop.test.password"), "correct").expect("the password");
    seal("-nomac");
    assert_eq!(findings(folder.path(), &text), Vec::<Value>::new());
    let convert = &["www.shop.test.pfx", "openssl pkcs12"];
    seal("-legacy -keypbe PBE-SHA1-RC4-128");
    assert_error(folder.path(), &text, "certificate-encryption", convert);
    seal("-iter 2000000");
    assert_error(folder.path(), &text, "certificate-encryption", convert);
    fs::write(&file, "no PKCS#12").expect("a file");
    assert_error(folder.path(), &text, "certificate-encryption", convert);
    openssl(
        &certs,
        "pkcs12 -export -nokeys -in own.pem -out www.shop.test.pfx -passout pass:correct",
    );
    assert_error(
        folder.path(),
        &text,
        "certificate-no-key",
        &["holds no private key"],
    );
    openssl(
        &certs,
        "pkcs12 -export -nocerts -in own.pem -inkey own.key -out www.shop.test.pfx -passout pass:correct",
    );
    assert_error(
        folder.path(),
        &text,
        "certificate-broken",
        &["holds no certificate"],
    );
}

#[test]
fn a_password_that_everybody_may_read_and_a_second_kind_that_is_broken_are_warned_of() {
    let (folder, certs) = made(&[("www.shop.test", "ecdsa"), ("www.shop.test.rsa", "rsa")]);
    // Whether others may read a file is asked of its folders too, and a temporary one is its owner's.
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    open(folder.path(), 0o755);
    let password = certs.join("_password");
    fs::write(&password, "correct horse").expect("the password");
    open(&password, 0o644);
    fs::write(certs.join("www.shop.test.rsa.key"), "broken").expect("a file");
    let found = found(folder.path(), &config("", ""), "warning");
    let codes: Vec<_> = (found.iter())
        .map(|finding| finding["code"].as_str().expect("a code"))
        .collect();
    assert!(codes.contains(&"certificate-password-exposed"), "{codes:?}");
    assert!(codes.contains(&"certificate-no-key"), "{codes:?}");
}

#[test]
fn a_key_beside_pkcs12_is_a_mistake() {
    let (folder, _) = made(&[]);
    let named = "[[certificate]]\nname = \"own\"\nchain = \"../certs/own.pfx\"\nkey = \"../certs/own.key\"\n";
    let text = config("certificate = \"own\"", named);
    assert_error(folder.path(), &text, "conflicting-keys", &["PKCS#12"]);
}
