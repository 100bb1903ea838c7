// Command words checks the language of the repository: comments, strings and names of
// Go files, documents, and the texts in packaging. It finds words that this repository
// does not use (see CONTRIBUTING.md), and prints the word to write instead.
//
//	go run ./tests/words                 # print each finding, and fail if there is one
//	go run ./tests/words docs packaging  # only these directories
//	go run ./tests/words -all            # print advice too
//	go run ./tests/words -count          # the number of findings in each directory
//	go run ./tests/words -count -C DIR   # the same in another checkout
//
// words.txt has the words. A finding that is right as it is (a quotation, or a name of
// another project) is listed in allow.txt with the reason; an entry there that matches
// nothing is a fault too.
//
// A string of a library may not name a command of thinctl, or an option.
//
// Names are checked where a Go file declares them. The check does not read code in
// documents and comments: text in backquotes, in fenced blocks and in indented blocks.
package main
