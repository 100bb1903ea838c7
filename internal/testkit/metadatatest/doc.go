// Package metadatatest makes metadata of thin pools for tests, sound and damaged,
// without a kernel: from a seed, of any size, with subtrees that devices share as
// snapshots do.
//
// # Terms
//
//   - A [Pool] is a model. Devices are created, written, discarded, snapshotted and
//     deleted, and their trees are copied on write as in the kernel. It can be saved
//     at any time.
//   - A [State] is the content of the live pool or of its held root. It computes from
//     the model, in the simplest way, the results that a reader must have.
//   - A [Damage] is a kind of damage with a name. The damaged block has a correct
//     checksum, except in damages of checksums.
//
// # Example
//
//	p := metadatatest.Random(7)
//	image, root, err := p.Image(metadatatest.SaveOptions{Shuffle: true})
//	...
//	for _, d := range metadatatest.Damages() {
//		bad := image.Clone()
//		block, ok, err := d.Apply(bad, 7)
//	}
package metadatatest
