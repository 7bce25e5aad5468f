//! Setting it up: what the documentation says to type, and what `check` says of files that are no good.

use super::*;

const DOCUMENT: &str = include_str!("../../../docs/client-certificates.md");

/// The blocks of commands that the document has.
fn commands() -> Vec<&'static str> {
    (DOCUMENT.split("```sh\n").skip(1))
        .map(|rest| rest.split("```").next().expect("a block"))
        .collect()
}

fn run(server: &Server, commands: &str) {
    let mut child = std::process::Command::new("sh")
        .args(["-eu"])
        .current_dir(server.path())
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("a shell");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // `openssl ca -revoke` asks nothing; `openssl ca` alone would.
    stdin
        .write_all(commands.as_bytes())
        .expect("commands are taken");
    drop(stdin);
    assert!(
        child.wait().expect("the shell ends").success(),
        "{commands}"
    );
}

#[test]
fn the_commands_of_the_document_work() {
    let setup = Setup::new().binding(
        "own.test",
        "client_certificates = { mode = \"require\", ca = \"../clients-ca.pem\", crl = \"../clients.crl\" }",
    );
    let text = setup.text();
    let [make, revoke] = commands()[..] else {
        panic!("two blocks of commands");
    };
    // The server begins without: its folder is where the commands are run.
    let open = text.replace("client_certificates", "# client_certificates");
    let mut server = Server::start_in(setup.folder, &open, |_| {});
    run(&server, make);
    let said = server.reload(&text);
    assert!(said.contains("reloaded"), "{said}");
    assert_eq!(
        curl(&server, "own.test", Some("alice")).stdout(),
        "Hello, World!"
    );
    assert!(!curl(&server, "own.test", None).output().status.success());
    run(&server, revoke);
    let said = server.reload(&text);
    assert!(said.contains("reloaded"), "{said}");
    assert!(
        !curl(&server, "own.test", Some("alice"))
            .output()
            .status
            .success()
    );
    let line = server.wait_errors("Tls_ClientCertificate", 2).remove(1);
    assert_eq!(line["client_subject"], "CN=alice,O=Shop");
    let detail = line["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("it has been revoked"), "{detail}");
}

#[test]
fn check_tells_what_is_wrong_with_the_files_and_where_they_are_named() {
    let setup = Setup::new().binding("own.test", REQUIRE_UNREVOKED);
    let file = setup.folder.path().join("config/bindings.toml");
    std::fs::write(&file, setup.text()).expect("the bindings file");
    let check = || {
        let output = Tool::new(env!("CARGO_BIN_EXE_portunus"))
            .arg("-c")
            .arg(&file)
            .arg("check")
            .output();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    let write = |name: &str, text: &str| {
        std::fs::write(setup.folder.path().join(name), text).expect("a file");
    };
    assert!(!check().contains("client-"), "{}", check());
    let good = setup.clients.revokes(&[], in_seconds(1000));
    for (name, content, code) in [
        (
            "clients.crl",
            setup.clients.revokes(&[], in_seconds(-5)),
            "warning[client-crl-expired]",
        ),
        (
            "clients.crl",
            Authority::new("clients CA").revokes(&[], in_seconds(5)),
            "error[client-crl-broken]",
        ),
        (
            "clients.crl",
            Authority::new("other CA").revokes(&[], in_seconds(99)),
            "warning[client-crl-foreign]",
        ),
        ("clients.crl", good, ""),
        ("clients.pem", String::new(), "error[client-ca-empty]"),
        (
            "clients.pem",
            setup.clients.issue(&["a.test"]).chain,
            "error[client-ca-no-ca]",
        ),
    ] {
        write(name, &content);
        let said = check();
        assert!(said.contains(code), "{code}: {said}");
        assert_eq!(said.contains("client-"), !code.is_empty(), "{said}");
    }
    std::fs::remove_file(setup.folder.path().join("clients.pem")).expect("a file");
    let said = check();
    assert!(said.contains("error[client-ca-missing]"), "{said}");
    assert!(said.contains("= help: "), "{said}");
}
