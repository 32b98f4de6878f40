"""The bundled methods: one file each. Drop another file here and it is on the board."""
