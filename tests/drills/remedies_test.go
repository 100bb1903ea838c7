package drills

import (
	"slices"
	"strings"
	"testing"
)

// answer is what a command prints each time, and its exit status. The last one is repeated.
type answer struct {
	printed string
	code    int
}

func TestFollowRemedies(t *testing.T) {
	for name, test := range map[string]struct {
		answers map[string][]answer
		want    Outcome
		err     string
		ran     int
	}{
		"healthy": {answers: map[string][]answer{"activate": {{"", 0}}, "check": {{"sound", 0}}}, want: Sound, ran: 2},
		"two commands": {answers: map[string][]answer{
			"activate": {{"bad; `one`, then `two`", 6}}, "one": {{"", 0}}, "two": {{"", 0}}, "check": {{"sound",
				0}}}, want: Sound, ran: 4},
		"lost": {answers: map[string][]answer{"activate": {{"the contents are lost, the names are kept; `thinctl pool destroy p --yes`", 6}}}, want: Lost, ran: 1},
		"lost with a way on": {answers: map[string][]answer{
			"activate": {{"b is lost, a is kept; `one`", 6}}, "one": {{"", 0}}, "check": {{"sound", 0}}}, want: Sound, ran: 3},
		"circle": {answers: map[string][]answer{
			"activate": {{"run `check`", 6}}, "check": {{"run `repair`", 6}}, "repair": {{"run `activate`",
				6}}}, err: "a circle", ran: 4},
		"dead end": {answers: map[string][]answer{"activate": {{"no such file", 1}}}, err: "without a command to go on with",
			ran: 1},
		"no end": {answers: map[string][]answer{"activate": {
			{"`activate` 1", 6}, {"`activate` 2", 6}, {"`activate` 3", 6}, {"`activate` 4", 6}, {"`activate` 5",
				6}, {"`activate` 6", 6}, {"`activate` 7", 6},
			{"`activate` 8", 6}, {"`activate` 9", 6}, {"`activate` 10", 6}, {"`activate` 11", 6}, {"`activate` 12",
				6}, {"`activate` 13", 6}}}, err: "have not led out", ran: mostSteps},
		"a dry run is no way on": {answers: map[string][]answer{"activate": {{"`repair --dry-run` prints more", 6}}},
			err: "without a command", ran: 1},
	} {
		t.Run(name, func(t *testing.T) {
			got, ran, err := FollowRemedies(func(command string) (string, int) {
				all := test.answers[command]
				if len(all) == 0 {
					t.Fatalf("got %q run", command)
				}
				if len(all) > 1 {
					test.answers[command] = all[1:]
				}
				return all[0].printed, all[0].code
			}, "activate", "check")
			if got != test.want || len(ran) != test.ran || (err == nil) != (test.err == "") || err != nil &&
				!strings.Contains(err.Error(), test.err) {
				t.Errorf("%q, %v, %d commands; want %q, %q, %d", got, err, len(ran), test.want, test.err, test.ran)
			}
		})
	}
}

func TestRemedies(t *testing.T) {
	got := Remedies("a: b; run `one two`, then `three`\nor `one two` again")
	if want := []string{"one two", "three"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
