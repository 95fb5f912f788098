#!/usr/bin/env python3
"""Writes golden vectors of whole networks beside this file: what Keras' EfficientNetB0 and VGG16 answer
in double precision in inference. All values follow from names (formula.py). test_networks.c replays
them; Keras and TensorFlow are needed here only.

    python3 tests/golden/networks/make_keras.py

Both are built without weights and given those of the formula. Keras' EfficientNetB0 normalises pixels
itself; in which order VGG16 gets its channels is no business of the network's.
"""
import os

os.environ.setdefault('KERAS_BACKEND', 'tensorflow')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

import keras
import numpy as np

import formula
import vectors

CLASSES = 10
# ImageNet's, of pixels from 0 to 1.
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
STAGE_BLOCKS = [1, 2, 2, 3, 3, 4, 1]
VGG_LAYERS = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
NORM = ['weight', 'bias', 'running_mean', 'running_var']


def fill(layer, names):
    """Sets a layer's weights, in Keras' order, to the variables of these names."""
    weights = layer.get_weights()
    assert len(weights) == len(names), (layer.name, names)
    values = []
    for name, weight in zip(names, weights):
        shape = weight.shape
        if len(shape) == 4 and shape[3] == 1 and 'dwconv' in layer.name:
            shape = shape[:3]
        if '.fc1.' in name or '.fc2.' in name:
            shape = shape[2:] if len(shape) == 4 else shape
        values.append(formula.variable(name, shape).reshape(weight.shape).astype(weight.dtype))
    layer.set_weights(values)


def pair(name):
    return [name + '.weight', name + '.bias']


def efficientnet(height, width):
    model = keras.applications.EfficientNetB0(weights=None, input_shape=(height, width, 3),
                                              classes=CLASSES, classifier_activation=None)
    names = {'stem_conv': ['features.0.0.weight'], 'top_conv': ['features.8.0.weight'],
             'stem_bn': ['features.0.1.' + kind for kind in NORM],
             'top_bn': ['features.8.1.' + kind for kind in NORM], 'predictions': pair('classifier.1')}
    for stage, blocks in enumerate(STAGE_BLOCKS, 1):
        for i in range(blocks):
            keras_name = 'block%d%s_' % (stage, 'abcd'[i])
            name = 'features.%d.%d.block.' % (stage, i)
            layers = ['expand_conv:expand_bn'] if stage > 1 else []
            layers += ['dwconv:bn', 'se', 'project_conv:project_bn']
            for q, layer in enumerate(layers):
                if layer == 'se':
                    names[keras_name + 'se_reduce'] = pair('%s%d.fc1' % (name, q))
                    names[keras_name + 'se_expand'] = pair('%s%d.fc2' % (name, q))
                    continue
                conv, norm = layer.split(':')
                names[keras_name + conv] = ['%s%d.0.weight' % (name, q)]
                names[keras_name + norm] = ['%s%d.1.%s' % (name, q, kind) for kind in NORM]
    for layer in model.layers:
        if layer.name in names:
            fill(layer, names.pop(layer.name))
        elif isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = MEAN.reshape(1, 1, 1, 3), (DEVIATION**2).reshape(1, 1, 1, 3)
        else:
            assert not layer.get_weights(), layer.name
    assert not names, names
    return model


def vgg(height, width):
    model = keras.applications.VGG16(weights=None, input_shape=(height, width, 3), classes=CLASSES,
                                     classifier_activation=None)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    for layer, index in zip(convolutions, VGG_LAYERS, strict=True):
        fill(layer, pair('features.%d' % index))
    for name, index in (('fc1', 0), ('fc2', 3), ('predictions', 6)):
        fill(model.get_layer(name), pair('classifier.%d' % index))
    return model


def network(name, model, plugin, options, batch, height, width, pixels):
    """pixels: of formula.images' values, those that the model reads."""
    attributes = {'plugin': plugin, 'batch': batch, 'height': height, 'width': width,
                  'classes': CLASSES, 'lr': 0.0}
    attributes.update(('option.' + key, value) for key, value in options.items())
    values = formula.images(0, batch, height, width).astype(np.float64)
    logits = np.asarray(model(pixels(values), training=False), np.float64)
    print(name, logits[0, :4], logits[-1, :4])
    vectors.write(formula.FOLDER, name, 'network', 0, 'keras ' + keras.__version__, attributes,
                  [('infer', 0, logits)])


def main():
    keras.config.set_floatx('float64')

    def unscaled(x):
        return (x * DEVIATION + MEAN) * 255

    for height, width in ((64, 64), (75, 41)):
        network('efficientnet_b0-keras-%d' % height, efficientnet(height, width), 'efficientnet_b0',
                {'variant': 'keras'}, 4, height, width, unscaled)
    network('vgg16-keras', vgg(64, 64), 'vgg16', {'variant': 'keras', 'top': 'fc'}, 2, 64, 64,
            lambda x: x)
    vectors.write_manifest(formula.FOLDER)


if __name__ == '__main__':
    main()
