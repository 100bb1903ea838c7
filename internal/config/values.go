package config

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"thinctl/internal/names"
	"thinctl/units"
)

// text is a value from a variable or a flag: one that is no string in the file is
// read out of it.
type text string

// value is what a key can be set to, and how it is written.
type value struct {
	set func(*settings, any) error
	get func(*settings) string
	// quoted: a string of the file.
	quoted bool
}

func boolean(at func(*settings) *bool) value {
	return value{
		set: func(s *settings, v any) (err error) {
			is, ok := v.(bool)
			if t, loose := v.(text); loose {
				is, err = strconv.ParseBool(string(t))
				ok = err == nil
			}
			if !ok {
				return bad("write true or false", "%s is not true or false", shown(v))
			}
			*at(s) = is
			return nil
		},
		get: func(s *settings) string { return strconv.FormatBool(*at(s)) },
	}
}

func number(least, most int, at func(*settings) *int) value {
	return value{
		set: func(s *settings, v any) error {
			n, ok := integer(v)
			if !ok || n < int64(least) || n > int64(most) {
				return bad(fmt.Sprintf("write a number from %d to %d", least, most), "%s is not such a number", shown(v))
			}
			*at(s) = int(n)
			return nil
		},
		get: func(s *settings) string { return strconv.Itoa(*at(s)) },
	}
}

// duration reads "15s". Where zero is allowed it means never.
func duration(least, most time.Duration, zero bool, at func(*settings) *time.Duration) value {
	remedy := fmt.Sprintf("write a time from %s to %s, such as %q", short(least), short(most), short(max(least, 15*time.Second)))
	if zero {
		remedy += `, or "0s" for never`
	}
	return value{quoted: true,
		set: func(s *settings, v any) error {
			word, ok := words(v)
			if !ok {
				return bad(remedy, "%s is not a time in quotes", shown(v))
			}
			d, err := time.ParseDuration(word)
			if err != nil {
				return bad(remedy, "%q is not a time", word)
			}
			if zero && d == 0 {
				*at(s) = 0
				return nil
			}
			if d < least {
				return bad(remedy, "%s is too short", short(d))
			}
			if d > most {
				return bad(remedy, "%s is too long", short(d))
			}
			*at(s) = d
			return nil
		},
		get: func(s *settings) string { return short(*at(s)) },
	}
}

// short writes 1m0s as 1m.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

const sizeRemedy = `write a size such as "10G"`

func size(at func(*settings) *units.Bytes) value {
	return value{quoted: true,
		set: func(s *settings, v any) error {
			b, err := bytesOf(v, sizeRemedy)
			if err == nil {
				*at(s) = b
			}
			return err
		},
		get: func(s *settings) string { return at(s).Exact() },
	}
}

func bytesOf(v any, remedy string) (units.Bytes, error) {
	if n, ok := v.(int64); ok {
		if n < 0 {
			return 0, bad(remedy, "%d is negative", n)
		}
		return units.Bytes(n), nil
	}
	word, ok := words(v)
	if !ok {
		return 0, bad(remedy, "%s is not a size", shown(v))
	}
	b, err := units.Parse(word)
	if err != nil {
		return 0, bad(remedy, "%q is not a size", word)
	}
	return b, nil
}

const thresholdRemedy = `write the percent in use, 1 to 99, or what has to be free, such as "5G"`

func threshold(at func(*settings) *Threshold) value {
	return value{
		set: func(s *settings, v any) error {
			if n, ok := percentOf(v); ok {
				if n < 1 || n > 99 {
					return bad(thresholdRemedy, "%d percent in use is not from 1 to 99", n)
				}
				*at(s) = Threshold{Percent: int(n)}
				return nil
			}
			free, err := bytesOf(v, thresholdRemedy)
			if err == nil && free == 0 {
				err = bad(thresholdRemedy, "nothing free is too late")
			}
			if err == nil {
				*at(s) = Threshold{Free: free}
			}
			return err
		},
		get: func(s *settings) string {
			if t := *at(s); t.Percent == 0 {
				return t.Free.Exact()
			}
			return strconv.Itoa(at(s).Percent)
		},
	}
}

const stepRemedy = `write percent of the size, such as "20%", or a size such as "10G"`

func step(at func(*settings) *Step) value {
	return value{quoted: true,
		set: func(s *settings, v any) error {
			word, ok := words(v)
			if !ok {
				return bad(stepRemedy, "%s is neither percent nor a size in quotes", shown(v))
			}
			if n, ok := percentOf(word); ok && strings.HasSuffix(word, "%") {
				if n < 1 || n > 1000 {
					return bad(stepRemedy, "%d percent is not from 1 to 1000", n)
				}
				*at(s) = Step{Percent: int(n)}
				return nil
			}
			b, err := bytesOf(word, stepRemedy)
			if err == nil && b < units.MiB {
				err = bad(stepRemedy, "%s is too small a step, the least is 1M", b)
			}
			if err == nil {
				*at(s) = Step{Size: b}
			}
			return err
		},
		get: func(s *settings) string { return at(s).String() },
	}
}

// percentOf reads 80, and "80%"; of a variable or flag also a bare 80.
func percentOf(v any) (int64, bool) {
	if n, ok := v.(int64); ok {
		return n, true
	}
	word, ok := words(v)
	if !ok {
		return 0, false
	}
	digits, percent := strings.CutSuffix(word, "%")
	if _, loose := v.(text); !percent && !loose {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil
}

func choice(of []string, at func(*settings) *string) value {
	return value{quoted: true,
		set: func(s *settings, v any) error {
			word, ok := words(v)
			for _, one := range of {
				if ok && word == one {
					*at(s) = word
					return nil
				}
			}
			return bad("write one of "+strings.Join(of, ", "), "%s is not known", shown(v))
		},
		get: func(s *settings) string { return *at(s) },
	}
}

// pattern reads a word that fits.
func pattern(what string, rule names.Rule, at func(*settings) *string) value {
	return value{quoted: true,
		set: func(s *settings, v any) error {
			word, ok := words(v)
			if !ok || rule.Check(word) != nil {
				return bad("write "+what, "%s is not one", shown(v))
			}
			*at(s) = word
			return nil
		},
		get: func(s *settings) string { return *at(s) },
	}
}

func level(at func(*settings) *slog.Level) value {
	names := []string{"debug", "info", "warn", "error"}
	return value{quoted: true,
		set: func(s *settings, v any) error {
			word, ok := words(v)
			for _, name := range names {
				if ok && strings.EqualFold(word, name) {
					return at(s).UnmarshalText([]byte(name))
				}
			}
			return bad("write one of "+strings.Join(names, ", "), "%s is not known", shown(v))
		},
		get: func(s *settings) string { return strings.ToLower(at(s).String()) },
	}
}

// folder reads an absolute path. Where empty is allowed it means none.
func folder(empty bool, at func(*settings) *string) value {
	return value{quoted: true,
		set: func(s *settings, v any) error {
			word, ok := words(v)
			if !ok || !filepath.IsAbs(word) && (!empty || word != "") {
				return bad("write a path that begins with /", "%s is not an absolute path", shown(v))
			}
			*at(s) = word
			return nil
		},
		get: func(s *settings) string { return *at(s) },
	}
}

const listenRemedy = `write "127.0.0.1:9723", ":9723", "unix:/run/thinctl/metrics.sock", or "" to serve no metrics`

func address(at func(*settings) *string) value {
	return value{quoted: true,
		set: func(s *settings, v any) error {
			word, ok := words(v)
			if !ok {
				return bad(listenRemedy, "%s is not an address in quotes", shown(v))
			}
			if err := checkListen(word); err != nil {
				return err
			}
			*at(s) = word
			return nil
		},
		get: func(s *settings) string { return *at(s) },
	}
}

func checkListen(word string) error {
	if word == "" {
		return nil
	}
	if path, unix := strings.CutPrefix(word, "unix:"); unix {
		const most = 107 // sockaddr_un, unix(7)
		if !filepath.IsAbs(path) || len(path) > most {
			return bad(listenRemedy, "%q is not an absolute path of at most %d bytes", path, most)
		}
		return nil
	}
	_, port, err := net.SplitHostPort(word)
	if err != nil {
		return bad(listenRemedy, "%q is not host:port", word)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return bad(listenRemedy, "%q is not a port from 1 to 65535", port)
	}
	return nil
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case text:
		n, err := strconv.ParseInt(string(v), 10, 64)
		return n, err == nil
	}
	return 0, false
}

func words(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case text:
		return string(v), true
	}
	return "", false
}

// shown names a value of the wrong kind.
func shown(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case text:
		return strconv.Quote(string(v))
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	}
	return fmt.Sprint(v)
}
