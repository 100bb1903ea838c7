package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"thinctl/internal/images/manifest"
)

// maxQuoted bounds the characters of a registry's reply that an error repeats.
const maxQuoted = 200

// check returns an error for a reply with another status than the given codes.
func check(response *http.Response, codes ...int) error {
	const most = 60 << 10 // go-containerregistry drops the status of longer replies
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, most), response.Body}
	return explain(transport.CheckError(response, codes...))
}

// isWebPage reports whether a reply is HTML, such as a login page or a proxy's error.
func isWebPage(body []byte) bool {
	head := bytes.ToLower(bytes.TrimSpace(body[:min(len(body), 1024)]))
	return bytes.HasPrefix(head, []byte("<")) &&
		(bytes.Contains(head, []byte("<html")) || bytes.Contains(head, []byte("<!doctype html")))
}

// webPage returns the error for a reply that is HTML.
func webPage(response *http.Response, body []byte) error {
	detail := fmt.Sprintf("the registry answered with a web page, status %d", response.StatusCode)
	if words := plainText(string(body)); words != "" {
		detail += fmt.Sprintf(": %q", words)
	}
	return &Error{
		Kind: manifest.ErrFormat, Detail: detail,
		Remedy: "check the host in the name, and whether a proxy or a login page is in between",
	}
}

var (
	invisible = regexp.MustCompile(`(?is)<(script|style)\b.*?(</(script|style)\s*>|$)|<!--.*?(-->|$)`)
	tags      = regexp.MustCompile(`(?s)<[a-zA-Z/!?][^>]*(>|$)`)
)

// plainText returns the first words of a registry's text without tags, control characters
// and line breaks, which is safe for a terminal.
func plainText(text string) string {
	const most = 64 << 10
	text = strings.ToValidUTF8(text[:min(len(text), most)], "?")
	text = tags.ReplaceAllString(invisible.ReplaceAllString(text, " "), " ")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxQuoted {
		text = string(runes[:maxQuoted]) + "..."
	}
	return text
}

// quoting is an error whose text contains text of a registry.
type quoting struct{ error }

func (q quoting) Error() string { return plainText(q.error.Error()) }
func (q quoting) Unwrap() error { return q.error }
