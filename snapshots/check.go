package snapshots

import (
	"context"
	"maps"
	"slices"

	"thinctl/thinpool"
)

// Disagreement is an inconsistency that no sequence of completed and undone operations
// can leave: a volume without its document, a document without its volume, a reference
// to nothing.
type Disagreement struct {
	Object string
	Detail string
	// Tar is the id of a layer that is complete except for the data that rebuilds its
	// tar, and "" for other disagreements. No repair restores that data.
	Tar string
}

// Check compares the documents with the volumes and with each other, at one moment.
// Leases of running or killed processes are not disagreements; see Recover.
func (s *Store) Check(ctx context.Context) ([]Disagreement, error) {
	var found []Disagreement
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		found, err = checkIn(tx)
		return err
	})
	return found, failed("check", "pool "+s.pool.Name(), err)
}

type check struct {
	wanted map[string]string // volume -> what it must be kept for
	found  []Disagreement
}

func (c *check) say(object, detail string) {
	c.found = append(c.found, Disagreement{Object: object, Detail: detail})
}

func (c *check) needs(object, volume string) {
	if _, there := c.wanted[volume]; !there {
		c.say(object, "it needs "+volume+", which has no document")
	}
}

func checkIn(tx *thinpool.Tx) ([]Disagreement, error) {
	c := &check{wanted: map[string]string{}}
	layers, err := documents[Layer](tx, kindLayers)
	if err != nil {
		return nil, err
	}
	inits, err := documents[Init](tx, kindInits)
	if err != nil {
		return nil, err
	}
	templates, err := documents[Template](tx, kindTemplates)
	if err != nil {
		return nil, err
	}
	containers, err := documents[Container](tx, kindContainers)
	if err != nil {
		return nil, err
	}
	for _, t := range templates {
		c.wanted[templateVolume(t.Key)] = forTemplate
	}
	for _, l := range layers {
		c.wanted[layerVolume(l.ID)] = forLayer
	}
	for _, i := range inits {
		c.wanted[initVolume(i.Key)] = forLayer
	}
	for _, at := range containers {
		c.wanted[containerVolume(at.ID)] = forContainer
	}
	for _, l := range layers {
		c.needs("layer "+l.ID, l.Below().volume)
		if l.Parent != "" {
			c.needs("layer "+l.ID, layerVolume(l.Parent))
		}
	}
	for _, i := range inits {
		c.needs("init "+i.Key, i.below())
	}
	if err := c.names(tx, containers); err != nil {
		return nil, err
	}
	return c.found, c.volumes(tx)
}

func (c *check) names(tx *thinpool.Tx, containers []Container) error {
	named := map[string]string{}
	for _, at := range containers {
		c.needs("container "+at.Name, initVolume(at.Init))
		if at.Layer != "" {
			c.needs("container "+at.Name, layerVolume(at.Layer))
		}
		named[at.Name] = at.ID
	}
	for entry, err := range thinpool.Documents[string](tx, kindNames, "") {
		if err != nil {
			return err
		}
		if named[entry.Key] != entry.Record {
			c.say("name "+entry.Key, "no container has it")
		}
		delete(named, entry.Key)
	}
	for name := range named {
		c.say("container "+name, "its name is not reserved")
	}
	return nil
}

func (c *check) volumes(tx *thinpool.Tx) error {
	leases := map[string]bool{}
	for entry, err := range thinpool.Documents[Lease](tx, kindLeases, "") {
		if err != nil {
			return err
		}
		leases[leaseVolume(entry.Key)] = true
	}
	for volume, err := range tx.Volumes() {
		if err != nil {
			return err
		}
		what, there := c.wanted[volume.Name]
		switch {
		case !isOurs(volume.For) && !there:
			continue // the user's own, or another package's
		case volume.For == forLease && leases[volume.Name]:
			continue
		case !there:
			c.say("volume "+volume.Name, "it has no document")
		case what != volume.For:
			c.say("volume "+volume.Name, "it is kept for "+volume.For+", not for "+what)
		}
		delete(c.wanted, volume.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.wanted)) {
		c.say("volume "+name, "it is missing")
	}
	return nil
}
