"""`chaintune demo`: the whole loop in five minutes, on the rules of a sport that exists nowhere."""
