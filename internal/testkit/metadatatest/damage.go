package metadatatest

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Damage is one way in which metadata can be wrong.
type Damage struct {
	// Name is what kind of fault, a slash, and where.
	Name string
	// Leak is set where nothing is wrong but that space is lost.
	Leak bool
	// Flag is set where nothing is damaged but the superblock asks for care.
	Flag bool

	apply func(*survey) (block uint64, ok bool)
}

// Damages returns all that are known. Rich pools have what each needs.
func Damages() []Damage {
	return slices.Concat(blockDamages(), treeDamages(), deviceDamages(), spaceMapDamages(), superblockDamages(), sizeDamages())
}

// Apply damages disk, which must hold good metadata, at places chosen by seed.
// It returns the block that is wrong, the first one where there are more. ok is
// false, and nothing changed, where the metadata has nothing that could be
// damaged so.
func (d Damage) Apply(disk Disk, seed uint64) (block uint64, ok bool, err error) {
	s, err := look(disk, rand.New(rand.NewPCG(seed, 3)))
	if err != nil {
		return 0, false, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("metadatatest: %s: %v", d.Name, r)
		}
	}()
	block, ok = d.apply(s)
	return block, ok, nil
}
