package images

import (
	"context"
	"errors"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/fault"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/thinpool"
)

// ChainIDs returns the chain ids of an image's layers without algorithm, base first. They
// are the ids of the layers in the pool.
func ChainIDs(image v1.Image) ([]string, error) {
	in, err := incomingOf(image, LoadOptions{})
	if err != nil {
		return nil, err
	}
	return in.chain, nil
}

// Have returns the chain ids of an image's layers, and the number of them, from the base,
// that are in the pool. These need not be fetched.
func (s *Store) Have(ctx context.Context, image v1.Image) (ids []string, have int, err error) {
	if ids, err = ChainIDs(image); err != nil {
		return nil, 0, err
	}
	chain, err := s.layers.BeginChain(ctx, layers.ChainOptions{Layers: ids})
	if err != nil {
		return nil, 0, err
	}
	return ids, chain.Have(), chain.Close()
}

// RepoDigests returns the digests of an image's manifests in registries, each with its
// repository: debian@sha256:...
func (s *Store) RepoDigests(ctx context.Context, image Image) ([]string, error) {
	var digests []string
	err := s.pool.View(ctx, func(tx *thinpool.Tx) error {
		digests = nil
		seen := map[string]bool{}
		for _, name := range image.Names {
			var record named
			err := tx.Get(kindNames, name.String(), &record)
			if errors.Is(err, fault.NotFound) || err == nil && (record.Key != image.Key || record.Manifest == "") {
				continue
			}
			if err != nil {
				return err
			}
			digest, err := reference.Parse(name.Repository() + "@" + record.Manifest)
			if err != nil {
				return err
			}
			if !seen[digest.String()] {
				seen[digest.String()] = true
				digests = append(digests, digest.Familiar())
			}
		}
		return nil
	})
	return digests, err
}
