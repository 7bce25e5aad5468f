//! What a failed accept calls for.

use super::super::adopt;
use super::*;

#[test]
fn every_error_of_accept_has_its_remedy() {
    for (code, expected) in [
        (Errno::EMFILE, Remedy::BackOff),
        (Errno::ENFILE, Remedy::BackOff),
        (Errno::ENOBUFS, Remedy::BackOff),
        (Errno::ENOMEM, Remedy::BackOff),
        (Errno::ECONNABORTED, Remedy::Retry),
        (Errno::EINTR, Remedy::Retry),
        (Errno::EPERM, Remedy::Retry),
        (Errno::EPROTO, Remedy::Retry),
        (Errno::ENETDOWN, Remedy::Retry),
        (Errno::EHOSTUNREACH, Remedy::Retry),
        (Errno::EBADF, Remedy::Fatal),
        (Errno::EINVAL, Remedy::Fatal),
        (Errno::ENOTSOCK, Remedy::Fatal),
    ] {
        let error = io::Error::from_raw_os_error(code as i32);
        assert_eq!(remedy(&error), expected, "{code}");
    }
    assert_eq!(
        remedy(&io::Error::other("no error of the system")),
        Remedy::Fatal
    );
}

#[tokio::test]
async fn a_queue_is_emptied_to_its_end_and_not_only_as_far_as_a_task_may_work_at_once() {
    // The standard library's own bound on the queue is 128.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let listener = TcpListener::from_std(adopt(socket).expect("adopted")).expect("watched");
    let address = listener.local_addr().expect("bound");
    // More than tokio lets a task do before it must wait its turn.
    let clients: Vec<_> = (0..300)
        .map(|_| std::net::TcpStream::connect(address).expect("queued"))
        .collect();
    let mut accepted = 0;
    // The first look only asks the system to tell; the driver has to come by.
    tokio::task::yield_now().await;
    let (first, _) = listener.accept().await.expect("queued");
    drop(first);
    while let Some(Ok(_)) = accept_queued(&listener).await {
        accepted += 1;
    }
    assert_eq!(accepted + 1, clients.len());
}
