package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"thinctl/internal/contexts"
)

// maxWait bounds the pause between tries, also if the registry requests a longer one.
const maxWait = time.Minute

// pause returns the pause after a number of failures.
func (o Options) pause(failures int) time.Duration {
	wait := o.Wait
	for range failures - 1 {
		if wait *= 2; wait >= maxWait {
			return maxWait
		}
	}
	return wait
}

// retryTransport sends a request again if the reply says that the registry is busy or failing,
// unless the request has a body that cannot be read again.
type retryTransport struct {
	next http.RoundTripper
	o    Options
}

func (t *retryTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	for failures := 1; ; failures++ {
		response, err := t.next.RoundTrip(request)
		if failures >= t.o.Tries || !repeatable(request) || !transient(response, err) {
			return response, err
		}
		wait := t.o.pause(failures)
		if response != nil {
			asked := retryAfter(response)
			if asked > maxWait {
				_ = response.Body.Close()
				return nil, longPause(response, asked)
			}
			wait = max(wait, asked)
			_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // the connection can then be used again
			_ = response.Body.Close()
		}
		if err := contexts.Sleep(request.Context(), min(wait, maxWait)); err != nil {
			return nil, err
		}
		if request, err = rewind(request); err != nil {
			return nil, err
		}
	}
}

// rewind returns the request with its body from the beginning.
func rewind(request *http.Request) (*http.Request, error) {
	if request.GetBody == nil {
		return request, nil
	}
	body, err := request.GetBody()
	if err != nil {
		return nil, err
	}
	request = request.Clone(request.Context())
	request.Body = body
	return request, nil
}

// longPause returns the error for a reply that requests a longer pause than maxWait.
func longPause(response *http.Response, wait time.Duration) error {
	e := &Error{
		Kind: ErrUnavailable, Detail: fmt.Sprintf("status %d", response.StatusCode), Err: errLater,
		Remedy: fmt.Sprintf("try again in %v", wait.Round(time.Second)),
	}
	if response.StatusCode == http.StatusTooManyRequests {
		e.Kind = ErrBusy
		e.Remedy += ", or log in for a higher limit: docker login"
	}
	return e
}

func repeatable(request *http.Request) bool {
	if request.Method == http.MethodPatch {
		// The registry may have accepted a part of it, so the upload starts again instead.
		return false
	}
	return request.Body == nil || request.Body == http.NoBody || request.GetBody != nil
}

func transient(response *http.Response, err error) bool {
	if err != nil {
		return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	}
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func retryAfter(response *http.Response) time.Duration {
	value := response.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(seconds, 0), 1<<30)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return time.Until(at)
	}
	return 0
}
