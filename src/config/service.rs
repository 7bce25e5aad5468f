//! The name of a service, whose SRV records say where it is (RFC 2782).

/// `_name._tcp.domain`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceName {
    text: String,
    /// Where the domain begins.
    domain: usize,
}

impl ServiceName {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The domain that it is a service of.
    pub fn domain(&self) -> &str {
        &self.text[self.domain..]
    }
}

/// Reads a name, or says what would be right.
pub(super) fn parse(text: &str) -> Result<ServiceName, &'static str> {
    let text = text.to_ascii_lowercase();
    if text.contains(':') {
        return Err("leave the port out: SRV records say it");
    }
    let form = "write the name of a service, as in \"srv+http://_http._tcp.app.example.com\"";
    let mut labels = text.split('.');
    let (Some(service), Some(protocol)) = (labels.next(), labels.next()) else {
        return Err(form);
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
    if !(service.len() > 1 && service.starts_with('_') && is_label(service)) || protocol != "_tcp" {
        return Err(form);
    }
    let domain = service.len() + protocol.len() + 2;
    let host = text.get(domain..).unwrap_or_default();
    let named = rustls::pki_types::ServerName::try_from(host).is_ok();
    if !named || !host.split('.').all(is_label) || text.len() > 253 {
        return Err(form);
    }
    Ok(ServiceName { text, domain })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_a_name_a_protocol_and_a_domain() {
        let name = parse("_HTTP._tcp.app.example.com").expect("a name");
        assert_eq!(name.as_str(), "_http._tcp.app.example.com");
        assert_eq!(name.domain(), "app.example.com");
        for bad in [
            "",
            "app.example.com",
            "_http._tcp",
            "_http._tcp.",
            "_http._udp.app.test",
            "_._tcp.app.test",
            "_http._tcp.app.test:80",
            "_http._tcp.app..test",
            "_http._tcp.app/test",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
