package differ

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"time"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/content/proxy"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"thinctl/internal/changes"
	"thinctl/internal/images/layertar"
	"thinctl/snapshots"
)

// request describes the layer to write.
type request struct {
	media     string
	reference string // of the write; "" is a new one
	labels    map[string]string
	latest    time.Time // upper bound of modification times; zero is none
}

// write writes the difference of two trees into containerd's content store.
func (d *Differ) write(ctx context.Context, trees snapshots.Trees, want request) (*types.Descriptor, error) {
	store := proxy.NewContentStore(d.conn)
	reference := want.reference
	if reference == "" {
		reference = "thinctl-diff-" + rand.Text()
	}
	w, err := store.Writer(ctx, content.WithRef(reference), content.WithDescriptor(v1.Descriptor{MediaType: want.media}))
	if err != nil {
		return nil, inStore("open a writer", err)
	}
	info, err := d.fill(ctx, store, w, trees, want)
	if err != nil {
		return nil, errors.Join(err, abandon(ctx, store, w, reference, want.reference == ""))
	}
	return &types.Descriptor{MediaType: want.media, Digest: info.Digest.String(), Size: info.Size}, nil
}

// fill writes and commits the layer. It is no error if containerd has the layer already.
func (d *Differ) fill(
	ctx context.Context, store content.Store, w content.Writer, trees snapshots.Trees, want request,
) (content.Info, error) {
	if err := w.Truncate(0); err != nil { // an earlier attempt with the same reference
		return content.Info{}, inStore("truncate", err)
	}
	diffID, err := stream(ctx, trees, want, w)
	if err != nil {
		return content.Info{}, err
	}
	all := map[string]string{}
	maps.Copy(all, want.labels)
	all[labels.LabelUncompressed] = diffID.String()
	sum := w.Digest()
	if err := w.Commit(ctx, 0, sum, content.WithLabels(all)); err != nil && !errdefs.IsAlreadyExists(err) {
		return content.Info{}, inStore("commit", err)
	}
	info, err := store.Info(ctx, sum)
	if err != nil {
		return info, inStore("read the information of "+sum.String(), err)
	}
	if info.Labels[labels.LabelUncompressed] == "" {
		if info.Labels == nil {
			info.Labels = map[string]string{}
		}
		info.Labels[labels.LabelUncompressed] = diffID.String()
		if _, err := store.Update(ctx, info, "labels."+labels.LabelUncompressed); err != nil {
			return info, inStore("label "+sum.String(), err)
		}
	}
	return info, nil
}

// sendSize is the size of writes to containerd, which responds to each.
const sendSize = 1 << 20

// stream writes the compressed layer to w and returns the digest of the uncompressed
// layer.
func stream(ctx context.Context, trees snapshots.Trees, want request, w io.Writer) (digest.Digest, error) {
	sent := bufio.NewWriterSize(w, sendSize)
	packed, err := compressor(sent, want.media)
	if err != nil {
		return "", err
	}
	sum := digest.SHA256.Digester()
	both := io.MultiWriter(packed, sum.Hash())
	_, err = layertar.Write(ctx, trees.Upper, Changes(ctx, trees), both, layertar.WriteOptions{Latest: want.latest})
	if err = errors.Join(err, packed.Close()); err != nil {
		return "", err
	}
	return sum.Digest(), sent.Flush()
}

// Changes finds the differences between two trees by a walk of both.
func Changes(ctx context.Context, trees snapshots.Trees) layertar.Changes {
	return func(visit func(path string, kind layertar.Kind) error) error {
		return changes.Walk(ctx, trees.Lower, trees.Upper, trees.Options(true), func(c changes.Change) error {
			return visit(c.Path, layertar.Kind(c.Kind))
		})
	}
}

// abandonTimeout limits the cleanup after the caller's context has ended.
const abandonTimeout = 30 * time.Second

// abandon closes a writer. It removes the data written if the reference is new: another
// request may continue the write of a reference that a client chose.
func abandon(ctx context.Context, store content.Store, w content.Writer, reference string, isNew bool) error {
	err := w.Close()
	if !isNew {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	if aerr := store.Abort(ctx, reference); aerr != nil && !errdefs.IsNotFound(aerr) {
		err = errors.Join(err, inStore("abort "+reference, aerr))
	}
	return err
}

// inStore returns an error of an operation on containerd's content store.
func inStore(op string, err error) error {
	return &snapshots.Error{Op: op, Object: "containerd's content store", Err: err}
}
