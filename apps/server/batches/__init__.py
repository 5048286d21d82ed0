"""/v1/batches: many requests as a file. `queue` are the rows, `check` reads the file, `inward` asks this server itself, `work` brings a
batch to its end and goes on with it after a kill."""
