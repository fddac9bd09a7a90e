//! HTTP/2 by hand (RFC 9113): what a library would never send.

/// The connection preface and an empty SETTINGS frame.
pub fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(0x4, 0, 0, &[]));
    bytes
}

/// Any frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A request for the control stream, on that stream, left open.
pub fn control_request(stream: u32) -> Vec<u8> {
    // HPACK (RFC 7541): POST and https from the static table, authority and path as literals.
    let mut headers = vec![0x83, 0x87, 0x01, 5];
    headers.extend_from_slice(b"agent");
    headers.extend_from_slice(&[0x04, 8]);
    headers.extend_from_slice(b"/control");
    frame(0x1, 0x4, stream, &headers)
}

/// So many control streams, one after the other, none of them ever closed.
pub fn streams(count: u32) -> Vec<u8> {
    preface().into_iter().chain((0..count).flat_map(|n| control_request(1 + 2 * n))).collect()
}

/// So many streams, each reset as soon as it was opened.
pub fn rapid_resets(count: u32) -> Vec<u8> {
    let pair = |n: u32| [control_request(1 + 2 * n), frame(0x3, 0, 1 + 2 * n, &8u32.to_be_bytes())].concat();
    preface().into_iter().chain((0..count).flat_map(pair)).collect()
}

/// So many pings.
pub fn pings(count: u32) -> Vec<u8> {
    preface().into_iter().chain((0..count).flat_map(|n| frame(0x6, 0, 0, &u64::from(n).to_be_bytes()))).collect()
}

/// So many changes of settings.
pub fn settings(count: u32) -> Vec<u8> {
    preface().into_iter().chain((0..count).flat_map(|_| frame(0x4, 0, 0, &[0, 4, 0, 0, 0x10, 0]))).collect()
}

/// A header block that never ends.
pub fn endless_headers(frames: u32) -> Vec<u8> {
    let mut bytes = preface();
    bytes.extend(frame(0x1, 0, 1, &[0x83, 0x87]));
    // A literal header of 4,000 bytes each time, without the flag that ends the block.
    let mut literal = vec![0x00, 1, b'x', 0x7f, 0xa1, 0x1e];
    literal.extend(std::iter::repeat_n(b'y', 4000));
    bytes.extend((0..frames).flat_map(|_| frame(0x9, 0, 1, &literal)));
    bytes
}
