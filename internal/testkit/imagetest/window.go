package imagetest

import "encoding/binary"

// ZstdWindow returns data as a zstd frame of raw blocks. The header asks for a window of
// 2^log bytes, with log from 10 to 41 (RFC 8878, 3.1.1.1.2).
func ZstdWindow(data []byte, log int) []byte {
	const blockMost = 128 << 10
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, byte(log-10) << 3}
	for {
		n := min(len(data), blockMost)
		head := uint32(n) << 3
		if n == len(data) {
			head |= 1 // the last block
		}
		var raw [4]byte
		binary.LittleEndian.PutUint32(raw[:], head)
		out = append(append(out, raw[:3]...), data[:n]...)
		if data = data[n:]; len(data) == 0 {
			return out
		}
	}
}

// ZstdSkippable returns a zstd frame that decoders skip (RFC 8878, 3.1.2).
func ZstdSkippable(data []byte) []byte {
	out := binary.LittleEndian.AppendUint32([]byte{0x50, 0x2a, 0x4d, 0x18}, uint32(len(data)))
	return append(out, data...)
}
