package config

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"thinctl/internal/names"
	"thinctl/units"
)

// text is a value from a variable or a flag. Other types are parsed from it.
type text string

// value reads and writes a field of the settings.
type value struct {
	set func(any) error
	get func() string
}

// field returns a value that parses and formats a field.
func field[T any](at *T, parse func(any) (T, error), format func(T) string) value {
	return value{
		set: func(v any) error {
			parsed, err := parse(v)
			if err == nil {
				*at = parsed
			}
			return err
		},
		get: func() string { return format(*at) },
	}
}

func boolean(at *bool) value {
	return field(at, func(v any) (bool, error) {
		is, ok := v.(bool)
		if t, isText := v.(text); isText {
			parsed, err := strconv.ParseBool(string(t))
			is, ok = parsed, err == nil
		}
		if !ok {
			return false, bad("write true or false", "%s is not true or false", shown(v))
		}
		return is, nil
	}, strconv.FormatBool)
}

func number(at *int, smallest, largest int) value {
	return field(at, func(v any) (int, error) {
		n, ok := integer(v)
		if !ok || n < int64(smallest) || n > int64(largest) {
			remedy := fmt.Sprintf("write a number from %d to %d", smallest, largest)
			return 0, bad(remedy, "%s is not a number in the range", shown(v))
		}
		return int(n), nil
	}, strconv.Itoa)
}

// duration parses a time such as "15s". If zero is allowed, it means never.
func duration(at *time.Duration, shortest, longest time.Duration, zero bool) value {
	example := short(max(shortest, 15*time.Second))
	remedy := fmt.Sprintf("write a time from %s to %s, such as %q", short(shortest), short(longest), example)
	if zero {
		remedy += `, or "0s" for never`
	}
	return field(at, func(v any) (time.Duration, error) {
		word, ok := stringOf(v)
		if !ok {
			return 0, bad(remedy, "%s is not a time in quotes", shown(v))
		}
		d, err := time.ParseDuration(word)
		switch {
		case err != nil:
			return 0, bad(remedy, "%q is not a time", word)
		case zero && d == 0:
			return 0, nil
		case d < shortest:
			return 0, bad(remedy, "%s is too short", short(d))
		case d > longest:
			return 0, bad(remedy, "%s is too long", short(d))
		}
		return d, nil
	}, short)
}

// short formats 1m0s as 1m.
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

func size(at *units.Bytes) value {
	return field(at, func(v any) (units.Bytes, error) { return bytesOf(v, sizeRemedy) }, units.Bytes.Exact)
}

func bytesOf(v any, remedy string) (units.Bytes, error) {
	if n, ok := v.(int64); ok {
		if n < 0 {
			return 0, bad(remedy, "%d is negative", n)
		}
		return units.Bytes(n), nil
	}
	word, ok := stringOf(v)
	if !ok {
		return 0, bad(remedy, "%s is not a size", shown(v))
	}
	b, err := units.Parse(word)
	if err != nil {
		return 0, bad(remedy, "%q is not a size", word)
	}
	return b, nil
}

const thresholdRemedy = `write the percentage in use, 1 to 99, or the free size, such as "5G"`

func threshold(at *Threshold) value {
	return field(at, func(v any) (Threshold, error) {
		if n, ok := percentOf(v); ok {
			if n < 1 || n > 99 {
				return Threshold{}, bad(thresholdRemedy, "%d percent is not from 1 to 99", n)
			}
			return Threshold{Percent: int(n)}, nil
		}
		free, err := bytesOf(v, thresholdRemedy)
		if err == nil && free == 0 {
			err = bad(thresholdRemedy, "a free size of 0 is too late")
		}
		return Threshold{Free: free}, err
	}, func(t Threshold) string {
		if t.Percent == 0 {
			return t.Free.Exact()
		}
		return strconv.Itoa(t.Percent)
	})
}

const stepRemedy = `write a percentage of the size, such as "20%", or a size such as "10G"`

func step(at *Step) value {
	return field(at, func(v any) (Step, error) {
		word, ok := stringOf(v)
		if !ok {
			return Step{}, bad(stepRemedy, "%s is neither a percentage nor a size in quotes", shown(v))
		}
		if n, ok := percentOf(word); ok && strings.HasSuffix(word, "%") {
			if n < 1 || n > 1000 {
				return Step{}, bad(stepRemedy, "%d percent is not from 1 to 1000", n)
			}
			return Step{Percent: int(n)}, nil
		}
		b, err := bytesOf(word, stepRemedy)
		if err == nil && b < units.MiB {
			err = bad(stepRemedy, "a step of %s is less than 1M", b)
		}
		return Step{Size: b}, err
	}, Step.String)
}

// percentOf parses 80 and "80%", and the text 80 from a variable or flag.
func percentOf(v any) (int64, bool) {
	if n, ok := v.(int64); ok {
		return n, true
	}
	word, ok := stringOf(v)
	if !ok {
		return 0, false
	}
	digits, percent := strings.CutSuffix(word, "%")
	if _, isText := v.(text); !percent && !isText {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil
}

func choice(at *string, among ...string) value {
	return field(at, func(v any) (string, error) {
		word, ok := stringOf(v)
		if !ok || !slices.Contains(among, word) {
			return "", bad("write one of "+strings.Join(among, ", "), "%s is not known", shown(v))
		}
		return word, nil
	}, unchanged)
}

func unchanged(s string) string { return s }

// validName parses a name that follows a rule.
func validName(at *string, rule names.Rule, remedy string) value {
	return field(at, func(v any) (string, error) {
		word, ok := stringOf(v)
		if !ok || rule.Check(word) != nil {
			return "", bad("write "+remedy, "%s is not a valid name", shown(v))
		}
		return word, nil
	}, unchanged)
}

func level(at *slog.Level) value {
	levels := []string{"debug", "info", "warn", "error"}
	return field(at, func(v any) (l slog.Level, err error) {
		word, ok := stringOf(v)
		if !ok || !slices.Contains(levels, strings.ToLower(word)) {
			return l, bad("write one of "+strings.Join(levels, ", "), "%s is not known", shown(v))
		}
		return l, l.UnmarshalText([]byte(word))
	}, func(l slog.Level) string { return strings.ToLower(l.String()) })
}

func absolutePath(at *string) value { return pathValue(at, false) }

// optionalPath parses an absolute path, or "" for none.
func optionalPath(at *string) value { return pathValue(at, true) }

func pathValue(at *string, optional bool) value {
	return field(at, func(v any) (string, error) {
		word, ok := stringOf(v)
		if !ok || !filepath.IsAbs(word) && (!optional || word != "") {
			return "", bad("write a path that begins with /", "%s is not an absolute path", shown(v))
		}
		return word, nil
	}, unchanged)
}

const listenRemedy = `write "127.0.0.1:9723", ":9723", "unix:/run/thinctl/metrics.sock", or "" to serve no metrics`

func address(at *string) value {
	return field(at, func(v any) (string, error) {
		word, ok := stringOf(v)
		if !ok {
			return "", bad(listenRemedy, "%s is not an address in quotes", shown(v))
		}
		return word, checkListen(word)
	}, unchanged)
}

func checkListen(word string) error {
	if word == "" {
		return nil
	}
	if path, unix := strings.CutPrefix(word, "unix:"); unix {
		const longest = 107 // sockaddr_un, unix(7)
		if !filepath.IsAbs(path) || len(path) > longest {
			return bad(listenRemedy, "%q is not an absolute path of at most %d bytes", path, longest)
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

func stringOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case text:
		return string(v), true
	}
	return "", false
}

// shown formats a value of the wrong type.
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
