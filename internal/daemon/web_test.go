package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"thinctl/internal/config"
	"thinctl/internal/testkit/snapshotstest"
)

// keyPair writes a certificate for 127.0.0.1 and its key.
func keyPair(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	check(t, os.WriteFile(filepath.Join(dir, "cert.pem"), certificate, 0o600))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return pool
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The daemon serves with TLS and basic auth at a socket from the service manager.
func TestTLSAndBasicAuth(t *testing.T) {
	dir := t.TempDir()
	roots := keyPair(t, dir)
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	check(t, err)
	web := filepath.Join(dir, "web.yml")
	const format = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\nbasic_auth_users:\n  prometheus: %s\n"
	check(t, os.WriteFile(web, fmt.Appendf(nil, format, hash), 0o600))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	fixture := snapshotstest.New(t)
	settings, err := config.Parse(fmt.Appendf(nil, "root = %q\n[serve]\nweb_config = %q\n", fixture.Root, web), "f", config.Sources{})
	check(t, err)
	d, err := New(Options{Host: fixture.Host(), Files: files{fixture.Files}, Config: settings, Listeners: []net.Listener{listener}})
	check(t, err)
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, Timeout: 30 * time.Second}
	get := func(scheme, password string) (int, string) {
		request, err := http.NewRequest(http.MethodGet, scheme+"://"+listener.Addr().String()+"/metrics", nil)
		check(t, err)
		request.SetBasicAuth("prometheus", password)
		answer, err := client.Do(request)
		check(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		check(t, err)
		return answer.StatusCode, string(body)
	}
	if code, body := get("https", "secret"); code != http.StatusOK || !strings.Contains(body, "thinctl_build_info") {
		t.Errorf("with the password: got %d %.200q, want 200 and metrics", code, body)
	}
	if code, body := get("https", "guess"); code != http.StatusUnauthorized || strings.Contains(body, "thinctl_") {
		t.Errorf("with another password: got %d, want 401", code)
	}
	if code, body := get("http", "secret"); code != http.StatusBadRequest || strings.Contains(body, "thinctl_build_info") {
		t.Errorf("without TLS: got %d, want 400", code)
	}
	client.CloseIdleConnections()
	end()
	check(t, <-ended)
}

// CheckWeb finds errors in the web configuration and in the files that it names.
func TestBadWebConfig(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"no file", "", "no such file"},
		{"no YAML", "{", "did not find"},
		{"unknown key", "tls: 1\n", "field tls not found"},
		{"no key", "tls_server_config:\n  cert_file: cert.pem\n", "missing one of key"},
		{"unreadable key", "tls_server_config:\n  cert_file: cert.pem\n  key_file: none.pem\n", "none.pem: no such file"},
		{"a key that is none", "tls_server_config:\n  cert_file: cert.pem\n  key_file: cert.pem\n", "found a certificate rather than a key"},
	} {
		dir := t.TempDir()
		keyPair(t, dir)
		path := filepath.Join(dir, "web.yml")
		if test.text != "" {
			check(t, os.WriteFile(path, []byte(test.text), 0o600))
		}
		err := CheckWeb(config.Serve{WebConfig: path})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}
