"""The dataset `creatures`: its captions, its drawings and its splits."""
