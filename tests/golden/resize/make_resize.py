#!/usr/bin/env python3
"""Makes the golden pictures of tests/unit/test_photo.c: a scene that has what photographs have (a
spectrum that falls with frequency, sharp outlines, fine texture, saturated places) as a JPEG, and
what Pillow makes of it. Needs Pillow and numpy; run in this folder. Last made with Pillow 9.4.0."""
import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 431, 323
rng = np.random.default_rng(7)


def noise(power):
    """Noise whose amplitude falls as frequency to `power`, mean 0, deviation 1."""
    fy, fx = np.fft.fftfreq(HEIGHT)[:, None], np.fft.fftfreq(WIDTH)[None, :]
    radius = np.maximum(np.hypot(fy, fx), 1 / WIDTH)
    spectrum = np.fft.fft2(rng.standard_normal((HEIGHT, WIDTH))) * radius**-power
    field = np.real(np.fft.ifft2(spectrum))
    return (field - field.mean()) / field.std()


def scene():
    y = np.linspace(0, 1, HEIGHT)[:, None]
    clouds = np.clip(noise(1.6), -1, 2)
    sky = [110 + 60 * y + 45 * clouds, 150 + 50 * y + 35 * clouds, 215 + 25 * y + 15 * clouds]
    picture = np.stack([np.broadcast_to(c, (HEIGHT, WIDTH)) for c in sky], axis=-1)
    for level, height, colour in ((0.45, 0.10, (95, 110, 130)), (0.62, 0.07, (60, 95, 55)),
                                  (0.80, 0.03, (150, 120, 70))):
        outline = level + height * noise(1.5)[0]
        texture = noise(0.9)[..., None] * 22
        below = (y > outline[None, :])[..., None]
        picture = np.where(below, np.array(colour) + texture, picture)
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((330, 30, 372, 72), fill=(255, 250, 225))
    for i in range(14):
        x = int(rng.integers(10, WIDTH - 10))
        draw.line((x, 205 + 3 * i, x, 265 + 3 * i), fill=(45, 30, 20), width=1 + i // 5)
        draw.ellipse((x - 9, 185 + 3 * i, x + 9, 215 + 3 * i), fill=(190 - 12 * i, 40 + 9 * i, 25))
    return image


def crop(image, height, width, kernel):
    """torchvision's Resize of the shorter side, then CenterCrop, for a square."""
    w, h = image.size
    small = (width, int(width * h / w)) if w < h else (int(height * w / h), height)
    image = image.resize(small, kernel)
    left, top = round((small[0] - width) / 2), round((small[1] - height) / 2)
    return image.crop((left, top, left + width, top + height))


scene().save("photo.jpg", quality=82)
photo = Image.open("photo.jpg").convert("RGB")
part = photo.crop((320, 20, 360, 60))
part.save("photo_part.png", optimize=True)
for name, kernel in (("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)):
    photo.resize((45, 64), kernel).save(f"photo_{name}_stretch.png", optimize=True)
    crop(photo, 56, 56, kernel).save(f"photo_{name}_crop.png", optimize=True)
    part.resize((73, 61), kernel).save(f"photo_{name}_larger.png", optimize=True)
