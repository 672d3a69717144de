package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// userAgent is what the cloud's log of calls knows us by.
const userAgent = "go-peer/1"

// Attempts at a call that the cloud was too busy for, as SDKs have them.
const attempts = 4

// client speaks the cloud's HTTP API.
type client struct {
	http     *http.Client
	endpoint string
	token    string
}

// refusal is an answer that is no success.
type refusal struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the cloud says %d %s: %s", r.Status, r.Code, r.Message)
}

func isStatus(err error, status int) bool {
	var refused *refusal
	return errors.As(err, &refused) && refused.Status == status
}

func isNotFound(err error) bool { return isStatus(err, http.StatusNotFound) }

func isConflict(err error) bool { return isStatus(err, http.StatusConflict) }

// call sends one request; in and out may be nil. It waits when it is told to and tries again.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	for attempt := 1; ; attempt++ {
		wait, err := c.once(ctx, method, path, body, out)
		if err == nil || attempt == attempts || wait < 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// once sends one request. Beside an error it says how long to wait before another, negative for
// never.
func (c *client) once(ctx context.Context, method, path string, body []byte, out any) (time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.endpoint+path, bytes.NewReader(body))
	if err != nil {
		return -1, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("User-Agent", userAgent)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return -1, err
	}
	defer answer.Body.Close()
	// Read to its end, or else the connection is not used again.
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return -1, err
	}
	if answer.StatusCode >= 300 {
		said := struct{ Error refusal }{}
		_ = json.Unmarshal(text, &said) // Whatever it says, the status is there.
		said.Error.Status = answer.StatusCode
		wait := time.Duration(-1)
		if answer.StatusCode == http.StatusTooManyRequests {
			seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
			wait = time.Duration(max(seconds, 1)) * time.Second
		}
		return wait, &said.Error
	}
	if out == nil {
		return -1, nil
	}
	return -1, json.Unmarshal(text, out)
}

// page is a part of a list.
type page[T any] struct {
	Items         []T     `json:"items"`
	Etag          string  `json:"etag"`
	NextPageToken *string `json:"next_page_token"`
}

// list reads all pages of a list.
func list[T any](ctx context.Context, c *client, path string, query url.Values) ([]T, error) {
	var all []T
	if query == nil {
		query = url.Values{}
	}
	for {
		at := path
		if len(query) > 0 {
			at += "?" + query.Encode()
		}
		var one page[T]
		if err := c.call(ctx, http.MethodGet, at, nil, &one); err != nil {
			return nil, err
		}
		all = append(all, one.Items...)
		if one.NextPageToken == nil {
			return all, nil
		}
		query.Set("page_token", *one.NextPageToken)
	}
}

// tagged asks a list for what has these tags.
func tagged(tags map[string]string) url.Values {
	query := url.Values{}
	for key, value := range tags {
		query.Add("tag", key+"="+value)
	}
	return query
}

// clientToken makes a repeated creation harmless: it follows from the owner and from all that is
// asked for.
func clientToken(owner, kind string, asked any) string {
	text, _ := json.Marshal(asked) // Plain fields.
	hash := fnv.New64a()
	_, _ = hash.Write(text)
	return fmt.Sprintf("go/%s/%s/%016x", owner, kind, hash.Sum64())
}
