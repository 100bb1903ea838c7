package imagetest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
)

// Image describes an image for Build.
type Image struct {
	Names  []string // name:tag
	Author string
	Config Config
	Layers []Layer // base first
}

// Config holds the settings with which a container is started.
type Config struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
}

// History is a line of the image's history, the oldest first.
type History struct {
	Created    time.Time `json:"created"`
	CreatedBy  string    `json:"created_by"`
	Author     string    `json:"author,omitempty"`
	EmptyLayer bool      `json:"empty_layer,omitempty"`
}

// Built is an image with its digests.
type Built struct {
	Image
	JSON     []byte    // the config blob
	ID       string    // its SHA-256, 64 hex: Docker's image id
	History  []History // as in JSON
	Contents []Layer   // the layers without the lines of history
	Tars     []blob    // of Contents, uncompressed: the digests are the diff ids
	ChainIDs []string  // of Contents, 64 hex
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// Build computes an image's digests. For that it writes each layer once.
func Build(i Image) (*Built, error) {
	b := &Built{Image: i}
	root := rootFS{Type: "layers", DiffIDs: []string{}}
	var ids []digest.Digest
	created := epoch
	for _, l := range i.Layers {
		created = created.Add(90 * time.Second)
		b.History = append(b.History, History{created, l.CreatedBy, i.Author, l.HistoryOnly})
		if l.HistoryOnly {
			continue
		}
		found, err := measure(l.WriteTar)
		if err != nil {
			return nil, fmt.Errorf("layer %d of %v: %w", len(b.Contents), i.Names, err)
		}
		b.Contents = append(b.Contents, l)
		b.Tars = append(b.Tars, found)
		ids = append(ids, digest.Digest(found.Digest))
		b.ChainIDs = append(b.ChainIDs, identity.ChainID(ids).Encoded())
		root.DiffIDs = append(root.DiffIDs, found.Digest)
	}
	var err error
	b.JSON, err = json.Marshal(struct {
		Architecture string    `json:"architecture"`
		OS           string    `json:"os"`
		Created      time.Time `json:"created"`
		Author       string    `json:"author,omitempty"`
		Config       Config    `json:"config"`
		RootFS       rootFS    `json:"rootfs"`
		History      []History `json:"history"`
	}{"amd64", "linux", created, i.Author, i.Config, root, b.History})
	sum := sha256.Sum256(b.JSON)
	b.ID = hex.EncodeToString(sum[:])
	return b, err
}

// DiffIDs returns the digests of the layers, base first.
func (b *Built) DiffIDs() []string {
	var ids []string
	for _, t := range b.Tars {
		ids = append(ids, t.Digest)
	}
	return ids
}

// Size returns the sum of the layers' sizes, which is Docker's virtual size.
func (b *Built) Size() int64 {
	sum := int64(0)
	for _, l := range b.Contents {
		sum += l.Size()
	}
	return sum
}
