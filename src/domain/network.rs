//! Where a provider may be called: what its settings allow, and the addresses that nothing allows.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde_json::Value;

use super::manifest::{Manifest, SettingSpec, SettingType};
use super::names::Name;
use super::settings::Effective;

const INSECURE_HTTP: &str = "allow_insecure_http";
const PRIVATE_NETWORK: &str = "allow_private_network";
const CA_FILE: &str = "ca_file";

/// Returns whether a setting is one of those that every provider has, which say where and whom to trust.
pub(crate) fn is_setting(name: &str) -> bool {
    [INSECURE_HTTP, PRIVATE_NETWORK, CA_FILE].contains(&name)
}

/// Returns the settings that every provider has beside those its manifest declares. None has a default: without a
/// value, nothing is allowed that need not be.
pub(crate) fn settings() -> impl Iterator<Item = (Name, SettingSpec)> {
    let spec =
        |setting_type, help: &str| SettingSpec { setting_type, help: Some(help.into()), ..SettingSpec::default() };
    let file = SettingSpec {
        pattern: Some("/.+".into()),
        example: Some("/etc/ssl/corp.pem".into()),
        ..spec(
            SettingType::Text,
            "Authorities to trust instead of the public ones: an absolute path of a file of PEM certificates",
        )
    };
    let all = [
        (INSECURE_HTTP, spec(SettingType::Bool, "Whether http:// is spoken, which only ever reaches this machine")),
        (PRIVATE_NETWORK, spec(SettingType::Bool, "Whether addresses of private networks are called")),
        (CA_FILE, file),
    ];
    all.into_iter().filter_map(|(name, spec)| Some((name.parse().ok()?, spec)))
}

/// What the settings of one provider allow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    /// Whether `http://` is spoken with this machine. No setting allows it with another.
    pub(crate) insecure_http: bool,
    /// Whether addresses are called that only a private network, or this machine, has.
    pub(crate) private: bool,
    /// The file with the authorities that are trusted in place of the public ones.
    pub(crate) ca_file: Option<PathBuf>,
}

impl Network {
    /// Returns what declared settings allow.
    pub(crate) fn of(settings: &BTreeMap<String, Value>) -> Self {
        let allowed = |name: &str| settings.get(name) == Some(&Value::Bool(true));
        Network {
            insecure_http: allowed(INSECURE_HTTP),
            private: allowed(PRIVATE_NETWORK),
            ca_file: settings.get(CA_FILE).and_then(Value::as_str).map(PathBuf::from),
        }
    }

    /// Fails with the reason why an address may not be called, as far as its letters tell.
    pub(crate) fn check(&self, url: &url::Url) -> Result<(), String> {
        match url.scheme() {
            "https" => {}
            "http" if !is_this_machine(url) => {
                return Err("only https:// is called; http:// is for this machine alone".into());
            }
            "http" if !self.insecure_http => {
                return Err(format!("http:// is called on this machine only where `{INSECURE_HTTP}` is true"));
            }
            "http" => {}
            scheme => return Err(format!("`{scheme}://` is not spoken here: use https://")),
        }
        match url.host() {
            None => Err("it names no host".into()),
            Some(url::Host::Domain(_)) => Ok(()),
            Some(url::Host::Ipv4(address)) => self.admit(url.scheme(), IpAddr::V4(address)),
            Some(url::Host::Ipv6(address)) => self.admit(url.scheme(), IpAddr::V6(address)),
        }
    }

    /// Fails with the reason why an address that a name led to, or that was written itself, may not be connected to.
    pub(crate) fn admit(&self, scheme: &str, address: IpAddr) -> Result<(), String> {
        let inner = inner(address);
        if never(inner) {
            return Err(format!("{address} is an address that is never called"));
        }
        // `localhost` is a name too, and may be led elsewhere.
        if scheme == "http" && !inner.is_loopback() {
            return Err(format!("{address} is not this machine, for which alone http:// is"));
        }
        let here = scheme == "http" && self.insecure_http;
        if is_private(inner) && !self.private && !here {
            return Err(format!(
                "{address} is an address of a private network, which is called only where `{PRIVATE_NETWORK}` is true"
            ));
        }
        Ok(())
    }
}

/// Fails with the setting whose address may not be called, and why.
pub(crate) fn check(settings: &Effective, manifest: &Manifest) -> Result<(), String> {
    let network = Network::of(&settings.declared());
    for (name, spec) in &manifest.settings {
        let value = settings.setting(name.as_str()).and_then(Value::as_str);
        let Some(text) = value.filter(|_| spec.setting_type == SettingType::Url) else { continue };
        let url = url::Url::parse(text).map_err(|error| format!("`{name}` is not a URL: {error}"))?;
        network.check(&url).map_err(|why| format!("`{name}`: `{}`: {why}", text.escape_debug()))?;
    }
    Ok(())
}

/// Returns whether an address leads nowhere but to this machine.
pub(crate) fn is_this_machine(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Returns the address that one of IPv6 stands for, where it only wraps one of IPv4: mapped, compatible, NAT64 (RFC 6052,
/// RFC 8215) or 6to4 (RFC 3056).
fn inner(address: IpAddr) -> IpAddr {
    let IpAddr::V6(outer) = address else { return address };
    let [a, b, c, d, e, f, high, low] = outer.segments();
    let wrapped = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if high > 0 => wrapped(high, low),
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] => wrapped(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0] | [0x64, 0xff9b, 1, ..] => wrapped(high, low),
        [0x2002, ..] => wrapped(b, c),
        _ => address,
    }
}

/// Returns whether an address is one that is never called: link-local, where clouds answer with a machine's own
/// credentials, the other places where they do, and what is no machine's address at all.
fn never(address: IpAddr) -> bool {
    /// Where Amazon and Alibaba answer outside the link-local range.
    const AMAZON: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    const ALIBABA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
    match address {
        // 0/8 is this network, 240/4 reserved, with the broadcast address (RFC 6890).
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.is_multicast() || v4 == ALIBABA || matches!(v4.octets()[0], 0 | 240..)
        }
        // fec0::/10 was link-local's neighbour until RFC 3879; Teredo (2001::/32) wraps addresses that cannot be seen.
        IpAddr::V6(v6) => {
            let site_local = v6.segments()[0] & 0xffc0 == 0xfec0;
            let teredo = v6.segments()[..2] == [0x2001, 0];
            v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.is_unspecified()
                || v6 == AMAZON
                || site_local
                || teredo
        }
    }
}

/// Returns whether an address is one of this machine, or of networks that the internet does not reach (RFC 1918, RFC 6598,
/// RFC 2544, RFC 4193).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || (a == 100 && b & 0xc0 == 64) || (a == 198 && b & 0xfe == 18)
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn check(network: &Network, text: &str) -> Result<(), String> {
        network.check(&text.parse().map_err(|error| format!("{error}"))?)
    }

    fn everything() -> Network {
        Network { insecure_http: true, private: true, ca_file: None }
    }

    #[test]
    fn without_a_setting_only_the_internet_is_called_and_only_over_tls() {
        let network = Network::default();
        for good in [
            "https://api.example",
            "https://8.8.8.8:8443/x",
            "https://[2606:4700::1111]/",
            "https://[64:ff9b::8.8.8.8]/",
        ] {
            assert_eq!(check(&network, good), Ok(()), "{good}");
        }
        for bad in [
            "http://api.example",
            "http://127.0.0.1:8090",
            "http://localhost",
            "https://127.0.0.1",
            "https://[::1]",
            "https://10.0.0.1",
            "https://172.31.255.255",
            "https://192.168.0.1",
            "https://100.64.0.1",
            "https://198.18.0.1",
            "https://[fd12::1]",
            "https://[::ffff:10.0.0.1]",
            "ftp://api.example",
            "file:///etc/passwd",
            "gopher://api.example",
        ] {
            assert!(check(&network, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_setting_allows_one_thing() {
        let http = Network { insecure_http: true, ..Network::default() };
        for good in
            ["http://127.0.0.1:1", "http://127.9.9.9", "http://localhost:1", "http://[::1]/", "http://2130706433/"]
        {
            assert_eq!(check(&http, good), Ok(()), "{good}");
        }
        for bad in [
            "https://127.0.0.1",
            "http://10.0.0.1",
            "http://evil.example",
            "http://localhost.",
            "http://127.0.0.1.evil.example",
        ] {
            assert!(check(&http, bad).is_err(), "{bad}");
        }
        let private = Network { private: true, ..Network::default() };
        for good in ["https://10.0.0.1", "https://127.0.0.1", "https://[fd12::1]", "https://[64:ff9b:1::10.0.0.1]"] {
            assert_eq!(check(&private, good), Ok(()), "{good}");
        }
        assert!(check(&private, "http://10.0.0.1").is_err() && check(&private, "http://127.0.0.1").is_err());
    }

    /// Ways to write addresses where clouds answer with a machine's own credentials, and others that are nobody's.
    pub(crate) const HOSTILE: [&str; 38] = [
        "https://169.254.169.254/latest/meta-data",
        "https://169.254.169.254./",
        "https://2852039166/",
        "https://0xA9FEA9FE/",
        "https://0xa9.0xfe.0xa9.0xfe/",
        "https://0251.0376.0251.0376/",
        "https://025177524776/",
        "https://169.254.43518/",
        "https://169.16689662/",
        "https://0xa9.254.0251.254/",
        "https://%31%36%39.254.169.254/",
        "https://\u{ff11}\u{ff16}\u{ff19}.254.169.254/",
        "https://\u{2460}\u{2465}\u{2468}.254.169.254/",
        "https://169\u{3002}254\u{ff0e}169\u{ff61}254/",
        "https://api.example@169.254.169.254/",
        "https://api.example:443@169.254.169.254/",
        "https://169.254.169.254\\@api.example/",
        "https://[::ffff:169.254.169.254]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[0:0:0:0:0:ffff:a9fe:a9fe]/",
        "https://[::169.254.169.254]/",
        "https://[::ffff:0:169.254.169.254]/",
        "https://[64:ff9b::169.254.169.254]/",
        "https://[64:ff9b:1::a9fe:a9fe]/",
        "https://[2002:a9fe:a9fe::1]/",
        "https://[2001:0:1:2:3:4:5601:5601]/",
        "https://[fe80::1]/",
        "https://[fec0::1]/",
        "https://[fd00:ec2::254]/",
        "https://[FD00:0EC2:0:0::0254]/",
        "https://169.254.170.2/v2/credentials",
        "https://100.100.100.200/latest",
        "https://0.0.0.0/",
        "https://0/",
        "https://[::]/",
        "https://255.255.255.255/",
        "https://224.0.0.251/",
        "https://[ff02::fb]/",
    ];

    #[test]
    fn addresses_that_only_machines_of_a_cloud_answer_are_never_called_however_they_are_written() {
        for url in HOSTILE {
            let why = check(&everything(), url).unwrap_err();
            assert!(why.ends_with("is an address that is never called"), "{url}: {why}");
            assert!(check(&everything(), &url.replacen("https", "http", 1)).is_err(), "{url}");
        }
        for broken in [
            "https://[fe80::1%25eth0]/",
            "https:///169.254.169.254",
            "https://1.2.3.4.5.6/",
            "https://[::ffff:999.1.1.1]/",
        ] {
            assert!(broken.parse::<url::Url>().is_err() || check(&everything(), broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn what_a_name_leads_to_is_held_to_the_same_rules() {
        let lead = |network: &Network, scheme, address: &str| network.admit(scheme, address.parse().unwrap());
        let none = Network::default();
        assert_eq!(lead(&none, "https", "93.184.216.34"), Ok(()));
        for bad in ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::ffff:169.254.169.254", "::1", "fd00::1"] {
            assert!(lead(&none, "https", bad).is_err(), "{bad}");
        }
        let http = Network { insecure_http: true, ..none };
        assert_eq!(lead(&http, "http", "127.0.0.1"), Ok(()));
        assert!(lead(&http, "http", "10.1.2.3").is_err() && lead(&http, "https", "127.0.0.1").is_err());
        for elsewhere in ["93.184.216.34", "2606:4700::1111", "10.1.2.3"] {
            assert!(lead(&everything(), "http", elsewhere).is_err(), "{elsewhere}");
        }
    }

    #[test]
    fn settings_say_what_is_allowed_and_nothing_else_does() {
        let of = |text: &str| Network::of(&serde_json::from_str(text).unwrap());
        assert_eq!(of("{}"), Network::default());
        assert_eq!(of(r#"{"allow_insecure_http": "true", "allow_private_network": false}"#), Network::default());
        let all = of(r#"{"allow_insecure_http": true, "allow_private_network": true, "ca_file": "/x"}"#);
        assert_eq!(all, Network { ca_file: Some("/x".into()), ..everything() });
        assert!(settings().all(|(name, spec)| is_setting(name.as_str()) && spec.default.is_none()));
    }
}
