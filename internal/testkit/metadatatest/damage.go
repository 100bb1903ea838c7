package metadatatest

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Damage is a kind of damage to metadata.
type Damage struct {
	// Name is the defect, a slash, and the place.
	Name string
	// Leak is true if the only consequence is lost space.
	Leak bool
	// Flag is true if nothing is damaged and a flag of the superblock requires attention.
	Flag bool

	apply func(*blockMap) (block uint64, ok bool)
}

// Damages returns all kinds of damage. Each applies to a Rich pool.
func Damages() []Damage {
	return slices.Concat(blockDamages(), treeDamages(), deviceDamages(), spaceMapDamages(), superblockDamages(),
		sizeDamages())
}

// Apply damages disk, which must hold sound metadata, in places chosen by seed. It returns the
// damaged block, or the first of several. ok is false, and nothing changed, if the metadata has
// no place for the damage.
func (d Damage) Apply(disk Disk, seed uint64) (block uint64, ok bool, err error) {
	s, err := newBlockMap(disk, rand.New(rand.NewPCG(seed, 3)))
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
