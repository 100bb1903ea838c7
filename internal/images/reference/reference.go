package reference

import (
	"strings"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
)

// Reference is one image's full name. The zero value names nothing.
type Reference struct {
	host   string // docker.io, localhost:5000
	path   string // library/debian
	tag    string // "" only with a digest
	digest string // "" or sha256:...
}

// Parse reads a name as Docker's command line does. Of a name with both a tag
// and a digest the digest decides; the tag is kept for display.
func Parse(s string) (Reference, error) {
	if why := outright(s); why != nil {
		return Reference{}, &Error{Given: s, Kind: errName, Detail: why.Detail, Remedy: why.Remedy}
	}
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		detail, remedy := explain(s, err)
		return Reference{}, &Error{Given: s, Kind: errName, Detail: detail, Remedy: remedy}
	}
	r := Reference{host: reference.Domain(named), path: reference.Path(named)}
	if digested, ok := named.(reference.Digested); ok {
		r.digest = digested.Digest().String()
	}
	if tagged, ok := named.(reference.Tagged); ok {
		r.tag = tagged.Tag()
	}
	if r.tag == "" && r.digest == "" {
		r.tag = "latest"
	}
	return r, nil
}

// outright refuses what the grammar's own message would not help with.
func outright(s string) *Error {
	switch {
	case s == "":
		return &Error{Detail: "it is empty", Remedy: "give a name such as debian:12"}
	case strings.HasPrefix(s, "http://"), strings.HasPrefix(s, "https://"):
		_, rest, _ := strings.Cut(s, "://")
		return &Error{Detail: "a name has no http:// or https:// before it", Remedy: "write " + rest}
	case strings.ContainsAny(s, " \t\r\n"):
		return &Error{Detail: "it has white space in it"}
	case IsID(s):
		return &Error{Detail: "64 hexadecimal digits are an image's id"}
	}
	return nil
}

// explain turns the grammar's error into what to change.
func explain(s string, err error) (detail, remedy string) {
	repository, tag := s, ""
	if at := strings.IndexByte(repository, '@'); at >= 0 {
		if digest := repository[at+1:]; !strings.HasPrefix(digest, "sha256:") || !IsID(digest[len("sha256:"):]) {
			return "the digest " + digest + " is not sha256: and 64 hexadecimal digits", ""
		}
		repository = repository[:at]
	}
	if colon := strings.LastIndexByte(repository, ':'); colon > strings.LastIndexByte(repository, '/') {
		repository, tag = repository[:colon], repository[colon+1:]
	}
	switch {
	case hasCapitals(repository):
		return "a repository is written in small letters", "write " + strings.ToLower(repository)
	case len(tag) > 128:
		return "the tag is longer than 128 characters", ""
	case strings.HasSuffix(s, ":"):
		return "there is no tag after the colon", ""
	}
	return strings.TrimPrefix(err.Error(), reference.ErrReferenceInvalidFormat.Error()+": "), ""
}

// hasCapitals looks at the path only: a host may have them.
func hasCapitals(repository string) bool {
	if host, path, found := strings.Cut(repository, "/"); found && strings.ContainsAny(host, ".:") {
		repository = path
	}
	return repository != strings.ToLower(repository)
}

// String is the canonical name, which no other way of writing the same name
// differs from.
func (r Reference) String() string {
	s := r.Repository()
	if r.tag != "" {
		s += ":" + r.tag
	}
	if r.digest != "" {
		s += "@" + r.digest
	}
	return s
}

// Repository is the canonical name without tag and digest.
func (r Reference) Repository() string {
	if r.host == "" {
		return ""
	}
	return r.host + "/" + r.path
}

// Host is the registry's, with its port where it has one.
func (r Reference) Host() string { return r.host }

// Tag is the tag, or "" of a name by digest alone.
func (r Reference) Tag() string { return r.tag }

// Digest is the manifest's digest, or "".
func (r Reference) Digest() string { return r.digest }

// FamiliarRepository is the repository as docker images prints it.
func (r Reference) FamiliarRepository() string {
	if r.host != "docker.io" {
		return r.Repository()
	}
	rest, below := strings.CutPrefix(r.path, "library/")
	if !below || strings.Contains(rest, "/") {
		return r.path
	}
	return rest
}

// Familiar is the name as Docker prints it: without docker.io and library.
func (r Reference) Familiar() string {
	return r.FamiliarRepository() + strings.TrimPrefix(r.String(), r.Repository())
}

// Remote is the name for a registry: by digest where there is one.
func (r Reference) Remote() (name.Reference, error) {
	host := r.host
	if host == "docker.io" {
		host = name.DefaultRegistry
	}
	registry, err := name.NewRegistry(host)
	if err != nil {
		return nil, &Error{Given: r.String(), Kind: errName, Detail: err.Error()}
	}
	repository := registry.Repo(r.path)
	if r.digest != "" {
		return repository.Digest(r.digest), nil
	}
	return repository.Tag(r.tag), nil
}

// IsID tells whether s is a whole id: 64 hexadecimal digits.
func IsID(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdef") == ""
}
