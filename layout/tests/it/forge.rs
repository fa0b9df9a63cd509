//! Records as somebody else could have written them: real ones with bytes put in their place and
//! the checksum made right again, by a CRC32C written here from its definition.

/// CRC32C bit by bit: reflected polynomial 0x82f63b78, start value and final xor all ones.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
    })
}

/// Puts `field` at `offset` and makes the checksum, which stands at `crc_offset` and covers
/// everything before it, right again.
pub(crate) fn forge(record: &mut [u8], crc_offset: usize, offset: usize, field: &[u8]) {
    record[offset..offset + field.len()].copy_from_slice(field);
    let crc = crc32c(&record[..crc_offset]);
    record[crc_offset..crc_offset + 4].copy_from_slice(&crc.to_le_bytes());
}
