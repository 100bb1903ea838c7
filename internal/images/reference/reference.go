package reference

import (
	"strings"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
)

// Reference is the complete name of an image. The zero value is no name.
type Reference struct {
	host   string // docker.io, localhost:5000
	path   string // library/debian
	tag    string // "" only with a digest
	digest string // "" or sha256:...
}

// Parse parses a name as Docker's command line does. In a name with both a tag and a
// digest, the digest counts; the tag is kept for output.
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

// outright returns an error for input for which the parser's own message does not help.
func outright(s string) *Error {
	switch {
	case s == "":
		return &Error{Detail: "it is empty", Remedy: "use a name such as debian:12"}
	case strings.HasPrefix(s, "http://"), strings.HasPrefix(s, "https://"):
		_, rest, _ := strings.Cut(s, "://")
		return &Error{Detail: "a name does not begin with http:// or https://", Remedy: "write " + rest}
	case strings.ContainsAny(s, " \t\r\n"):
		return &Error{Detail: "it contains white space"}
	case IsID(s):
		return &Error{Detail: "64 hexadecimal digits are the id of an image"}
	}
	return nil
}

// explain returns a detail and a remedy for an error of the parser.
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
		return "a repository has only lower-case letters", "write " + strings.ToLower(repository)
	case len(tag) > 128:
		return "the tag is longer than 128 characters", ""
	case strings.HasSuffix(s, ":"):
		return "there is no tag after the colon", ""
	}
	return strings.TrimPrefix(err.Error(), reference.ErrReferenceInvalidFormat.Error()+": "), ""
}

// hasCapitals reports whether the path has upper-case letters. A host may have them.
func hasCapitals(repository string) bool {
	if host, path, found := strings.Cut(repository, "/"); found && strings.ContainsAny(host, ".:") {
		repository = path
	}
	return repository != strings.ToLower(repository)
}

// String returns the canonical name, which is the same for all spellings of a name.
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

// Repository returns the canonical name without tag and digest.
func (r Reference) Repository() string {
	if r.host == "" {
		return ""
	}
	return r.host + "/" + r.path
}

// Host returns the registry's host, with its port if it has one.
func (r Reference) Host() string { return r.host }

// Tag returns the tag, "" for a name with only a digest.
func (r Reference) Tag() string { return r.tag }

// Digest returns the digest of the manifest, or "".
func (r Reference) Digest() string { return r.digest }

// FamiliarRepository returns the repository as docker images prints it.
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

// Familiar returns the name as Docker prints it, without docker.io and library.
func (r Reference) Familiar() string {
	return r.FamiliarRepository() + strings.TrimPrefix(r.String(), r.Repository())
}

// Remote returns the name for a registry: with the digest if there is one.
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

// IsID reports whether s is a complete id: 64 hexadecimal digits.
func IsID(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdef") == ""
}
