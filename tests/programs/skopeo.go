package programs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

// SkopeoCopy copies an image. Names are skopeo's, with the kind of each place.
func SkopeoCopy(ctx context.Context, from, to string) error {
	return SkopeoCopyWith(ctx, nil, from, to)
}

// SkopeoCopyWith copies an image with more environment variables.
func SkopeoCopyWith(ctx context.Context, env []string, from, to string) error {
	_, err := RunWith(ctx, env, "skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", from, to)
	return err
}

// SkopeoID returns the digest of an image's config.
func SkopeoID(ctx context.Context, image string) (string, error) {
	out, err := command{ctx: ctx}.raw("skopeo", "inspect", "--tls-verify=false", "--config", "--raw", image)
	sum := sha256.Sum256(out)
	return hex.EncodeToString(sum[:]), err
}
