// Package nearest suggests a known word for a misspelt one.
package nearest

import "github.com/agext/levenshtein"

// mostChanges is the largest number of changes for which a word counts as misspelt.
const mostChanges = 2

// Of returns the candidate that needs the fewest changes to word, or the first of them;
// "" if all need more than two.
func Of(word string, candidates []string) string {
	best, fewest := "", mostChanges+1
	for _, candidate := range candidates {
		if changes := levenshtein.Distance(word, candidate, nil); changes < fewest && changes < len(candidate) {
			best, fewest = candidate, changes
		}
	}
	return best
}
