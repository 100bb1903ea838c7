// Package nearest finds the word that a misspelt one may stand for.
package nearest

import "github.com/agext/levenshtein"

// mostChanges bounds how much a misspelt word differs: with more changes it is another
// word.
const mostChanges = 2

// Of returns the candidate with the fewest changes to word, the first of several; "" if
// each needs more than two.
func Of(word string, candidates []string) string {
	best, least := "", mostChanges+1
	for _, candidate := range candidates {
		if changes := levenshtein.Distance(word, candidate, nil); changes < least && changes < len(candidate) {
			best, least = candidate, changes
		}
	}
	return best
}
