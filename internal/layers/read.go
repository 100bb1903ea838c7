package layers

import (
	"context"
	"strings"

	"thinctl/fault"
	"thinctl/thinpool"
)

// Layers returns all layers, in the order of their ids.
func (s *Store) Layers(ctx context.Context) ([]Layer, error) {
	return list(ctx, s, AllIn, "layers")
}

// Containers returns all containers, in the order of their ids.
func (s *Store) Containers(ctx context.Context) ([]Container, error) {
	return list(ctx, s, ContainersIn, "containers")
}

// Inits returns all inits, in the order of their keys.
func (s *Store) Inits(ctx context.Context) ([]Init, error) {
	return list(ctx, s, initsIn, "inits")
}

func list[T any](
	ctx context.Context,
	s *Store,
	in func(*thinpool.Tx) ([]T, error),
	what string,
) (records []T, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		records, err = in(tx)
		return err
	})
	return records, failed("list", what, err)
}

// Layer returns the layer of an id, or the only layer whose id begins with the given
// digits.
func (s *Store) Layer(ctx context.Context, id string) (layer Layer, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		layer, err = findIn(tx, id)
		return err
	})
	return layer, failed("find", "layer "+id, err)
}

// findIn is Layer within the caller's transaction.
func findIn(tx *thinpool.Tx, id string) (Layer, error) {
	return byPrefix[Layer](tx, kindLayers, "layer", id)
}

// Container returns the container of an id or a name, or the only one whose id begins
// with the given digits.
func (s *Store) Container(ctx context.Context, idOrName string) (c Container, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		c, err = containerIn(tx, idOrName)
		return err
	})
	return c, failed("find", "container "+idOrName, err)
}

func containerIn(tx *thinpool.Tx, idOrName string) (Container, error) {
	if !isID(idOrName) {
		id, named, err := thinpool.Document[string](tx, kindNames, idOrName)
		if err != nil {
			return Container{}, err
		}
		if named {
			idOrName = id
		}
	}
	return byPrefix[Container](tx, kindContainers, "container", idOrName)
}

// byPrefix finds the only record whose key begins with prefix. what is "layer" or
// "container".
func byPrefix[T any, P described[T]](tx *thinpool.Tx, kind thinpool.DocumentKind, what, prefix string) (T, error) {
	var found []thinpool.DocumentEntry[T]
	var none T
	missing := &Error{Op: "find", Object: what + " " + prefix, Kind: fault.NotFound,
		Cure: Cure{Code: CureList, What: what}}
	if prefix == "" || !isHex(prefix) {
		return none, missing
	}
	for entry, err := range thinpool.Documents[T](tx, kind, prefix) {
		if err != nil {
			return none, err
		}
		found = append(found, entry)
	}
	switch len(found) {
	case 0:
		return none, missing
	case 1:
		object, _, err := withSnapshot[T, P](tx, found[0].Record, true, nil)
		return object, err
	}
	var ids []string
	for _, entry := range found {
		ids = append(ids, short(entry.Key))
	}
	return none, &Error{Op: "find", Object: what + " " + prefix, Kind: ErrAmbiguous,
		Detail: strings.Join(ids, ", ") + " begin so", Remedy: "give more digits"}
}

// findLayer finds a layer by its whole id.
func (s *Store) findLayer(ctx context.Context, id string) (layer Layer, found bool, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		layer, found, err = layerIn(tx, id)
		return err
	})
	return layer, found, err
}
