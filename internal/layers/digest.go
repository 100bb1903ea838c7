package layers

import (
	"context"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"thinctl/fault"
	"thinctl/thinpool"
	"thinctl/units"
)

// Digest describes the tar of a layer.
type Digest struct {
	DiffID  string // "sha256:..."
	Size    units.Bytes
	Entries int
	TarSize int64 // bytes, uncompressed
}

// SetDigest records the digest of a committed layer when it has been computed. The
// layer keeps its id. Chain ids are computed when all digests below are known.
func (s *Store) SetDigest(ctx context.Context, layer string, d Digest) error {
	diffID := d.DiffID
	digits, ok := strings.CutPrefix(diffID, "sha256:")
	if !ok || !isID(digits) {
		return &Error{
			Op:     "record the digest of",
			Object: "layer " + short(layer),
			Kind:   fault.Invalid,
			Detail: fmt.Sprintf("%q is not a sha256 digest", diffID),
		}
	}
	err := s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		l, err := findIn(tx, layer)
		if err != nil {
			return err
		}
		if l.DiffID != "" && l.DiffID != diffID {
			return &Error{Op: "record the digest of", Object: "layer " + short(l.ID), Kind: fault.Invalid,
				Detail: fmt.Sprintf("it has %s already, which is not %s", l.DiffID, diffID)}
		}
		l.DiffID, l.Size, l.Entries, l.TarSize = diffID, d.Size, d.Entries, d.TarSize
		all, err := AllIn(tx)
		if err != nil {
			return err
		}
		return putChainIDs(tx, l, all)
	})
	return failed("record the digest of", "layer "+short(layer), err)
}

// putChainIDs writes a layer, and those above it, with the chain ids that can be
// computed now.
func putChainIDs(tx *thinpool.Tx, l Layer, all []Layer) error {
	below := ""
	if l.Parent != "" {
		parent, found, err := layerIn(tx, l.Parent)
		if err != nil {
			return err
		}
		if below = parent.ChainID; !found || below == "" {
			return tx.Put(kindLayers, l.ID, l)
		}
	}
	if l.ChainID == "" {
		l.ChainID = chainID(below, l.DiffID)
	}
	if err := tx.Put(kindLayers, l.ID, l); err != nil {
		return err
	}
	for _, child := range all {
		if child.Parent == l.ID && child.DiffID != "" && child.ChainID == "" {
			if err := putChainIDs(tx, child, all); err != nil {
				return err
			}
		}
	}
	return nil
}

// chainID returns the OCI chain id of a layer on the chain id below, which is "" for a
// base. It is "" while the layer's diff id is not computed.
func chainID(below, diffID string) string {
	if diffID == "" {
		return ""
	}
	ids := []digest.Digest{digest.Digest(diffID)}
	if below != "" {
		ids = []digest.Digest{digest.NewDigestFromEncoded(digest.SHA256, below), ids[0]}
	}
	return identity.ChainID(ids).Encoded()
}
