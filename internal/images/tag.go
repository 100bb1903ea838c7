package images

import (
	"context"

	"thinctl/fault"
	"thinctl/internal/images/reference"
	"thinctl/thinpool"
)

// Tag gives an image another name. Another image loses the name if it has it.
func (s *Store) Tag(ctx context.Context, text string, name reference.Reference) (Image, error) {
	if name.Digest() != "" {
		return Image{}, &Error{Op: "tag", Object: "image " + text, Kind: fault.Invalid,
			Detail: name.Familiar() + " has a digest", Remedy: "use a name with a tag"}
	}
	var image Image
	err := s.pool.Update(ctx, func(tx *thinpool.Tx) (err error) {
		if image, err = find(tx, text); err != nil {
			return err
		}
		if err := setNames(tx, image.Key, "", []reference.Reference{name}); err != nil {
			return err
		}
		image, err = byKey(tx, image.Key)
		return err
	})
	return image, err
}
