// Package metadatatest makes metadata of thin pools for tests, good and bad,
// with no kernel: from a seed, of any size, with subtrees shared between
// devices as snapshots share them.
//
// # Words
//
//   - A [Pool] is a model: devices are created, written, discarded, snapshotted
//     and deleted, and their trees copied on write as the kernel's are. It can
//     be saved at any time.
//   - A [State] is what the live pool or its held root has. It answers from the
//     model alone, naively, what a reader must find.
//   - A [Damage] is one named corruption, sealed by a right checksum where the
//     fault is behind it.
//
// # Example
//
//	p := metadatatest.Random(7)
//	image, root, err := p.Image(metadatatest.SaveOptions{Shuffle: true})
//	...
//	for _, d := range metadatatest.Damages() {
//		bad := image.Clone()
//		block, ok := d.Apply(bad, 7)
//	}
package metadatatest
