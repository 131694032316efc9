"""What a stack takes from elsewhere: every image and every chart, to copy them where it has no way out."""
