//go:build systemd

package oncall

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// compression is the factor by which the night is faster than the files' times.
const compression = 12

const (
	prometheus   = "http://127.0.0.1:9090"
	alertmanager = "http://127.0.0.1:9093"
	exporter     = "http://127.0.0.1:9723"
)

// watch is Prometheus, Alertmanager and the receiver of their messages.
type watch struct {
	began   time.Time
	mutex   sync.Mutex
	notices []notice

	desk sync.Mutex // there is one operator
}

// notice is one alert in a message.
type notice struct {
	At             float64 // seconds since the watch began
	Status         string  // firing or resolved
	Alert, Code    string
	Pool, Severity string
	Runbook        string
}

func startWatch(t *testing.T) *watch {
	t.Helper()
	w := &watch{began: time.Now()}
	listener := httptest.NewServer(http.HandlerFunc(w.listen))
	t.Cleanup(listener.Close)
	dir := t.TempDir()

	hook := func(name string) string {
		return fmt.Sprintf("webhook_configs: [{url: '%s/%s'}]\n", listener.URL, name)
	}
	write(t, dir+"/alertmanager.yml",
		changed(t, faster(t, read(t, projectFile("packaging/prometheus/alertmanager.yml")),
			`(?:group_wait|group_interval|repeat_interval)`),
			"email_configs:\n      - to: storage@example.org\n", hook("mail"),
			"email_configs:\n      - to: oncall@example.org\n        headers: {Subject: '[PAGE] {{ .CommonAnnotations.summary }}'}\n", hook("pager")))
	write(t, rulesFile, faster(t, read(t, projectFile("packaging/prometheus/thinctl.rules.yml")), `for`))
	write(t, dir+"/prometheus.yml",
		"global: {scrape_interval: 2s, evaluation_interval: 2s}\n"+read(t, projectFile("packaging/prometheus/scrape.yml")))

	for _, template := range []string{"default.tmpl", "email.tmpl"} {
		run(t, "install", "-Dm644", projectFile(".build/oncall/"+template), "/usr/share/prometheus/alertmanager/"+template)
	}
	start(t, projectFile(".build/oncall/prometheus-alertmanager"), "--config.file="+dir+"/alertmanager.yml",
		"--storage.path="+dir+"/alertmanager", "--web.listen-address=127.0.0.1:9093", "--cluster.listen-address=")
	start(t, "prometheus", "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/prometheus",
		"--web.listen-address=127.0.0.1:9090")
	for _, address := range []string{alertmanager + "/-/ready", prometheus + "/-/ready", exporter + "/readyz"} {
		await(t, address, 4*time.Minute, func() bool { _, err := get(t.Context(), address); return err == nil })
		t.Logf("%s after %.0f s", address, w.now())
	}
	await(t, "samples of each pool", time.Minute, func() bool { return len(w.query(t, `thinctl_pool_active == 1`)) == 3 })
	return w
}

// faster divides the durations of such settings by compression.
func faster(t *testing.T, text, settings string) string {
	t.Helper()
	found := false
	text = regexp.MustCompile(`\b(`+settings+`): (\w+)\b`).ReplaceAllStringFunc(text, func(line string) string {
		m := regexp.MustCompile(`^(.*): (\w+)$`).FindStringSubmatch(line)
		took, err := time.ParseDuration(m[2])
		if err != nil {
			return line // prose
		}
		found = true
		return fmt.Sprintf("%s: %dms", m[1], took.Milliseconds()/compression)
	})
	if !found {
		t.Fatalf("no %s in\n%s", settings, text)
	}
	return text
}

// start starts a program that ends with the test.
func start(t *testing.T, name string, args ...string) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, log.String())
		}
	})
}

func get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s\n%s", address, response.Status, text)
	}
	return text, err
}

// listen receives Alertmanager's messages.
func (w *watch) listen(_ http.ResponseWriter, r *http.Request) {
	var message struct {
		Alerts []struct {
			Status              string
			Labels, Annotations map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&message); err != nil {
		panic(err) // the connection is closed, and Alertmanager tries again
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for _, a := range message.Alerts {
		w.notices = append(w.notices, notice{At: w.now(), Status: a.Status, Alert: a.Labels["alertname"], Code: a.Labels["code"],
			Pool: a.Labels["pool"], Severity: a.Labels["severity"], Runbook: a.Annotations["runbook"]})
	}
}

func (w *watch) now() float64 { return time.Since(w.began).Seconds() }

// received returns the notices of a pool so far.
func (w *watch) received(pool string) []notice {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	var found []notice
	for _, n := range w.notices {
		if n.Pool == pool || n.Pool == "" {
			found = append(found, n)
		}
	}
	return found
}

// last returns the last notice of an alert of a pool.
func (w *watch) last(pool, alert string) (last notice) {
	for _, n := range w.received(pool) {
		if n.Alert == alert {
			last = n
		}
	}
	return last
}

// series returns Prometheus's series of an expression.
type series struct {
	Metric map[string]string
	Value  [2]any
	Values [][2]any
}

func number(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case string:
		f, err := strconv.ParseFloat(v, 64)
		if err == nil {
			return f
		}
	}
	panic(fmt.Sprintf("no number: %v", v))
}

func (w *watch) query(t *testing.T, expr string) []series {
	t.Helper()
	return ask(t, "query", url.Values{"query": {expr}})
}

// span returns the values of an expression, one for each second from a time on.
func (w *watch) span(t *testing.T, expr string, from, to float64) []series {
	t.Helper()
	at := func(s float64) string {
		return strconv.FormatInt(w.began.Add(time.Duration(s*float64(time.Second))).Unix(), 10)
	}
	return ask(t, "query_range", url.Values{"query": {expr}, "start": {at(from)}, "end": {at(to)}, "step": {"1"}})
}

func ask(t *testing.T, path string, values url.Values) []series {
	t.Helper()
	var answer struct {
		Status, Error string
		Data          struct{ Result []series }
	}
	text, err := get(t.Context(), prometheus+"/api/v1/"+path+"?"+values.Encode())
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err == nil && answer.Status != "success" {
		err = errors.New(answer.Error)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", path, values.Get("query"), err)
	}
	return answer.Data.Result
}
