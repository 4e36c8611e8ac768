"""hearth: declarative configuration of fleets of ownCloud boxes at home."""
