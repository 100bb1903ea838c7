package snapshots

import (
	"fmt"
	"maps"
	"slices"

	"thinctl/thinpool"
)

// RepairIn removes, within a transaction, what [Store.Check] finds: documents whose
// volume does not exist, and those that depend on them. A volume that loses its
// document becomes a volume of the user's, with its contents. RepairIn returns what it
// did.
func RepairIn(tx *thinpool.Tx) ([]string, error) {
	r := &repair{tx: tx, volumes: map[string]thinpool.VolumeRecord{}, sound: map[string]bool{}}
	for volume, err := range tx.Volumes() {
		if err != nil {
			return nil, err
		}
		r.volumes[volume.Name] = volume
	}
	for _, step := range []func() error{r.templates, r.layersAndInits, r.containers, r.containerNames, r.strays} {
		if err := step(); err != nil {
			return r.actions, err
		}
	}
	return r.actions, nil
}

type repair struct {
	tx      *thinpool.Tx
	volumes map[string]thinpool.VolumeRecord
	sound   map[string]bool // volumes whose document is
	actions []string
}

// isSound reports whether a volume exists under a sound document.
func (r *repair) isSound(volume string) bool { return r.sound[volume] }

// keep records the volume of a document that stays, or removes the document.
func (r *repair) keep(kind thinpool.DocumentKind, key, object, volume string, on ...string) error {
	missing := ""
	if _, there := r.volumes[volume]; !there {
		missing = volume
	}
	for _, below := range on {
		if below != "" && !r.isSound(below) {
			missing = below
		}
	}
	if missing == "" {
		r.sound[volume] = true
		return r.setPurpose(kind, volume)
	}
	delete(r.sound, volume)
	r.actions = append(r.actions, fmt.Sprintf("remove the record of %s: volume %s is gone", object, missing))
	return r.tx.Delete(kind, key)
}

// setPurpose sets the purpose of a volume to the one that its document requires.
func (r *repair) setPurpose(kind thinpool.DocumentKind, name string) error {
	what := map[thinpool.DocumentKind]string{kindTemplates: forTemplate, kindLayers: forLayer, kindInits: forLayer,
		kindContainers: forContainer}[kind]
	volume := r.volumes[name]
	if volume.For == what {
		return nil
	}
	r.actions = append(r.actions, fmt.Sprintf("keep the volume %s for a %s again", name, what))
	return r.tx.Keep(volume, what)
}

func (r *repair) templates() error {
	all, err := documents[Template](r.tx, kindTemplates)
	for _, t := range all {
		if err == nil {
			err = r.keep(kindTemplates, t.Key, "template "+t.Key, templateVolume(t.Key))
		}
	}
	return err
}

// layersAndInits starts from the templates: a layer can be made on an init, and an init
// on a layer.
func (r *repair) layersAndInits() error {
	layers, err := documents[Layer](r.tx, kindLayers)
	if err != nil {
		return err
	}
	inits, err := documents[Init](r.tx, kindInits)
	if err != nil {
		return err
	}
	parent := func(l Layer) string {
		if l.Parent == "" {
			return ""
		}
		return layerVolume(l.Parent)
	}
	there := func(volume string) bool { _, ok := r.volumes[volume]; return ok }
	for more := true; more; {
		more = false
		mark := func(volume string, sound bool) {
			if sound && there(volume) && !r.sound[volume] {
				r.sound[volume], more = true, true
			}
		}
		for _, l := range layers {
			mark(layerVolume(l.ID), r.isSound(l.Below().volume) && (l.Parent == "" || r.isSound(parent(l))))
		}
		for _, i := range inits {
			mark(initVolume(i.Key), r.isSound(i.below()))
		}
	}
	for _, l := range layers {
		if err := r.keep(
			kindLayers,
			l.ID,
			"layer "+short(l.ID),
			layerVolume(l.ID),
			l.Below().volume,
			parent(l),
		); err != nil {
			return err
		}
	}
	for _, i := range inits {
		if err := r.keep(kindInits, i.Key, "init "+short(i.Key), initVolume(i.Key), i.below()); err != nil {
			return err
		}
	}
	return nil
}

func (r *repair) containers() error {
	all, err := ContainersIn(r.tx)
	for _, c := range all {
		layer := ""
		if c.Layer != "" {
			layer = layerVolume(c.Layer)
		}
		if err == nil {
			err = r.keep(kindContainers, c.ID, "container "+c.Name, containerVolume(c.ID), initVolume(c.Init), layer)
		}
	}
	return err
}

// containerNames makes the reserved names those of the containers.
func (r *repair) containerNames() error {
	all, err := ContainersIn(r.tx)
	if err != nil {
		return err
	}
	named := map[string]string{}
	for _, c := range all {
		named[c.Name] = c.ID
	}
	var gone []string
	for entry, err := range thinpool.Documents[string](r.tx, kindNames, "") {
		switch {
		case err != nil:
			return err
		case named[entry.Key] == entry.Record:
			delete(named, entry.Key)
		case named[entry.Key] == "":
			gone = append(gone, entry.Key)
		}
	}
	for _, name := range gone {
		if err := r.tx.Delete(kindNames, name); err != nil {
			return err
		}
	}
	for name, id := range named {
		if err := r.tx.Put(kindNames, name, id); err != nil {
			return err
		}
	}
	return nil
}

// strays turns volumes without a document into volumes of the user's.
func (r *repair) strays() error {
	leases := map[string]bool{}
	for entry, err := range thinpool.Documents[Lease](r.tx, kindLeases, "") {
		if err != nil {
			return err
		}
		leases[leaseVolume(entry.Key)] = true
	}
	for _, name := range slices.Sorted(maps.Keys(r.volumes)) {
		volume := r.volumes[name]
		if !isOurs(volume.For) || r.sound[volume.Name] || leases[volume.Name] {
			continue
		}
		if err := r.release(volume); err != nil {
			return err
		}
	}
	return nil
}

// release turns a volume into one of the user's.
func (r *repair) release(volume thinpool.VolumeRecord) error {
	name, err := r.tx.Release(volume)
	if err == nil {
		r.actions = append(r.actions, fmt.Sprintf("keep %s as the volume %s", volume.Name, name))
	}
	return err
}

// ForgetImages removes references of containers to images that do not exist. The
// containers keep the name that they were made by.
func ForgetImages(tx *thinpool.Tx, there func(key string) bool) error {
	all, err := ContainersIn(tx)
	for _, c := range all {
		if err == nil && c.Image != "" && !there(c.Image) {
			c.Image = ""
			err = tx.Put(kindContainers, c.ID, c)
		}
	}
	return err
}
