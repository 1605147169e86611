import metazoo.keras_settings  # noqa: F401  refuses another backend of Keras before anything is built on it
