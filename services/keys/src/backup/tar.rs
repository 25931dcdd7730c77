//! A tar of a few small files (POSIX ustar), as much as an archive for a node needs.

use zeroize::Zeroizing;

const BLOCK: usize = 512;

/// One file, readable by its owner only.
pub struct File {
    pub path: &'static str,
    pub content: Zeroizing<Vec<u8>>,
}

/// The archive of these files, dated `mtime` in seconds since 1970.
pub fn archive(files: &[File], mtime: u64) -> Zeroizing<Vec<u8>> {
    let blocks: usize = files.iter().map(|file| 1 + file.content.len().div_ceil(BLOCK)).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity((blocks + 2) * BLOCK));
    for File { path, content } in files {
        bytes.extend_from_slice(&header(path, content.len(), mtime));
        bytes.extend_from_slice(content);
        let padded = bytes.len().next_multiple_of(BLOCK);
        bytes.resize(padded, 0);
    }
    // Two empty blocks are the end.
    let ended = bytes.len() + 2 * BLOCK;
    bytes.resize(ended, 0);
    bytes
}

fn header(path: &'static str, size: usize, mtime: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, path.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{mtime:011o}\0").as_bytes());
    // The checksum counts itself as blanks.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
