package kwire

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// scramIterationsMax bounds the work that a server may ask of the client.
const scramIterationsMax = 1 << 20

// scramExchange authenticates by RFC 5802 without channel binding. step sends
// one message and returns the answer.
func scramExchange(s SASL, step func([]byte) ([]byte, error)) error {
	var nonce [24]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return err
	}
	c := newScramClient(s, base64.RawStdEncoding.EncodeToString(nonce[:]))
	serverFirst, err := step([]byte("n,," + c.firstBare))
	if err != nil {
		return err
	}
	final, err := c.answer(string(serverFirst))
	if err != nil {
		return err
	}
	serverFinal, err := step([]byte(final))
	if err != nil {
		return err
	}
	return c.verify(string(serverFinal))
}

type scramClient struct {
	hash      func() hash.Hash
	nonce     string
	password  string
	firstBare string
	signature []byte // that the server must show
}

func newScramClient(s SASL, nonce string) *scramClient {
	h := sha256.New
	if s.Mechanism == ScramSHA512 {
		h = sha512.New
	}
	user := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(norm.NFKC.String(s.User))
	return &scramClient{hash: h, nonce: nonce, password: norm.NFKC.String(s.Password), firstBare: "n=" + user + ",r=" + nonce}
}

func (c *scramClient) mac(key []byte, text string) []byte {
	m := hmac.New(c.hash, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// answer makes the client's final message.
func (c *scramClient) answer(serverFirst string) (string, error) {
	f := scramFields(serverFirst)
	salt, err := base64.StdEncoding.DecodeString(f['s'])
	if err != nil {
		return "", fmt.Errorf("SCRAM salt: %w", err)
	}
	n, err := strconv.Atoi(f['i'])
	if err != nil || n < 1 || n > scramIterationsMax {
		return "", fmt.Errorf("SCRAM iterations %q are out of range", f['i'])
	}
	if !strings.HasPrefix(f['r'], c.nonce) || len(f['r']) == len(c.nonce) {
		return "", errors.New("SCRAM nonce of the server does not continue ours")
	}
	salted, err := pbkdf2.Key(c.hash, c.password, salt, n, c.hash().Size())
	if err != nil {
		return "", err
	}
	clientKey := c.mac(salted, "Client Key")
	h := c.hash()
	h.Write(clientKey)
	stored := h.Sum(nil)
	bare := "c=biws,r=" + f['r']
	auth := c.firstBare + "," + serverFirst + "," + bare
	proof := c.mac(stored, auth)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	c.signature = c.mac(c.mac(salted, "Server Key"), auth)
	return bare + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

// verify checks that the server knew the password, too.
func (c *scramClient) verify(serverFinal string) error {
	f := scramFields(serverFinal)
	if e := f['e']; e != "" {
		return &AuthError{fmt.Errorf("SCRAM: %s", e)}
	}
	got, err := base64.StdEncoding.DecodeString(f['v'])
	if err != nil || !hmac.Equal(got, c.signature) {
		return &AuthError{errors.New("SCRAM signature of the server is wrong")}
	}
	return nil
}

func scramFields(s string) map[byte]string {
	out := map[byte]string{}
	for part := range strings.SplitSeq(s, ",") {
		if len(part) >= 2 && part[1] == '=' {
			out[part[0]] = part[2:]
		}
	}
	return out
}
