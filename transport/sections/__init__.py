"""The sections of the settings, which `transport.settings` puts together."""
