//! What a secret looks like where it lies about: the forms that encodings give it.

fn base64(bytes: &[u8], symbols: &[u8; 64]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        (0..=group.len()).for_each(|place| text.push(char::from(symbols[(bits >> (18 - 6 * place) & 63) as usize])));
    }
    text
}

/// Returns the forms that a secret of some length may have, by their names.
pub fn forms(secret: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let escaped = |upper: bool| -> String {
        let escape = |byte: &u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(*byte).to_string(),
            byte if upper => format!("%{byte:02X}"),
            byte => format!("%{byte:02x}"),
        };
        bytes.iter().map(escape).collect()
    };
    let utf16: Vec<u16> = secret.encode_utf16().collect();
    let mut forms = vec![
        ("raw".to_owned(), bytes.to_vec()),
        ("hex".to_owned(), hex.clone().into_bytes()),
        ("HEX".to_owned(), hex.to_uppercase().into_bytes()),
        ("url".to_owned(), escaped(true).into_bytes()),
        ("url in lower case".to_owned(), escaped(false).into_bytes()),
        ("url of a form".to_owned(), escaped(true).replace("%20", "+").into_bytes()),
        ("reversed".to_owned(), bytes.iter().rev().copied().collect()),
        ("json".to_owned(), serde_json::to_string(secret).unwrap().trim_matches('"').as_bytes().to_vec()),
        ("utf-16le".to_owned(), utf16.iter().flat_map(|unit| unit.to_le_bytes()).collect()),
        ("utf-16be".to_owned(), utf16.iter().flat_map(|unit| unit.to_be_bytes()).collect()),
    ];
    for (name, last) in [("base64", b"+/"), ("base64url", b"-_")] {
        let mut symbols = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        symbols[62..].copy_from_slice(last);
        for shift in 0..3 {
            // Only the symbols that no neighbour of the secret has a share in.
            let encoded = base64(&[&b"xx"[..shift], bytes].concat(), &symbols);
            let own = (shift * 8).div_ceil(6)..(shift + bytes.len()) * 8 / 6;
            forms.push((format!("{name} at {shift}"), encoded[own].as_bytes().to_vec()));
        }
    }
    forms
}
